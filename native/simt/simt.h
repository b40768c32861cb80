// What kernels are compiled against by g++: CUDA's names for threads, barriers, shuffles, vectors and arithmetic.
//
// Everything that touches other threads is a call into libcuda.so.1 (machine.cpp). So the compiler must assume that memory
// changes there, as it does on a GPU.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#define __device__
#define __host__
#define __global__
#define __constant__ const
#define __forceinline__ inline __attribute__((always_inline))
// Empty, as headers of the C++ library have it inside of __attribute__.
#define __noinline__
#define __restrict__ __restrict
#define __launch_bounds__(...)

struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace simt {

// An entry point as the driver knows it.
struct Kernel {
    const char* name;
    unsigned threads;       // most threads a block
    unsigned count;         // parameters
    const unsigned* sizes;  // of each parameter, in bytes
    void (*invoke)(void* const* params);
};

// What a thread waits at.
enum class Wait : unsigned { SHUFFLE, BALLOT, SYNCWARP, MMA, MMA_BF16, LDMATRIX, SYNCTHREADS };

// One SHARED declaration: where its array lies in the block that last reached it.
struct Site {
    uint64_t block;
    unsigned offset;
};

}  // namespace simt

#pragma GCC visibility push(default)
extern "C" {
void simt_register(const simt::Kernel* kernel);
void* simt_shared(simt::Site* site, const char* name, unsigned bytes, unsigned element);
void* simt_dynamic_shared(simt::Site* site, const char* name, unsigned element);
// Waits for the lanes of the mask, or the block; what the lane `source` brought, or the votes of all. The tensor cores' bring a
// pointer to Fragments or MatrixRow.
uint64_t simt_meet(unsigned mask, uint64_t value, unsigned source, simt::Wait at);
// Keeps what the thread will find at `to` once it waits for its copies.
void simt_copy_started(void* to, const void* bytes16);
// The next copy of the thread that has not been waited for, in their order; null when there is none.
void* simt_copy_done(void* bytes16);

// These do not change while a function runs, so the compiler may call them once.
#define SIMT_CONSTANT(name) unsigned name() __attribute__((const, nothrow, leaf))
SIMT_CONSTANT(simt_lane);
SIMT_CONSTANT(simt_thread_x);
SIMT_CONSTANT(simt_thread_y);
SIMT_CONSTANT(simt_thread_z);
SIMT_CONSTANT(simt_block_x);
SIMT_CONSTANT(simt_block_y);
SIMT_CONSTANT(simt_block_z);
SIMT_CONSTANT(simt_block_dim_x);
SIMT_CONSTANT(simt_block_dim_y);
SIMT_CONSTANT(simt_block_dim_z);
SIMT_CONSTANT(simt_grid_dim_x);
SIMT_CONSTANT(simt_grid_dim_y);
SIMT_CONSTANT(simt_grid_dim_z);
#undef SIMT_CONSTANT
}
#pragma GCC visibility pop

#define threadIdx (uint3{simt_thread_x(), simt_thread_y(), simt_thread_z()})
#define blockIdx (uint3{simt_block_x(), simt_block_y(), simt_block_z()})
#define blockDim (uint3{simt_block_dim_x(), simt_block_dim_y(), simt_block_dim_z()})
#define gridDim (uint3{simt_grid_dim_x(), simt_grid_dim_y(), simt_grid_dim_z()})
constexpr int warpSize = 32;

namespace simt {

template <class F> struct Signature;
template <class... A> struct Signature<void (*)(A...)> {
    static constexpr unsigned count = sizeof...(A);
    static constexpr unsigned sizes[sizeof...(A) + 1] = {sizeof(A)..., 0};

    // Reads the driver's own memory, so it is not checked as the kernel is.
    template <void (*F)(A...)> __attribute__((no_sanitize("kernel-address"))) static void invoke(void* const* params) {
        call<F>(params, std::make_integer_sequence<unsigned, count>());
    }

private:
    template <void (*F)(A...), unsigned... I>
    __attribute__((no_sanitize("kernel-address"), always_inline)) static void call([[maybe_unused]] void* const* params,
            std::integer_sequence<unsigned, I...>) {
        F(*static_cast<std::remove_cv_t<A>*>(params[I])...);
    }
};

template <class Array> inline Array& shared(Site& site, const char* name) {
    static_assert(std::is_trivially_default_constructible_v<std::remove_all_extents_t<Array>>, "shared memory is not initialised");
    return *static_cast<Array*>(simt_shared(&site, name, sizeof(Array), sizeof(std::remove_all_extents_t<Array>)));
}

}  // namespace simt

#define KERNEL(most_threads, name, ...) \
    extern "C" __attribute__((noinline, visibility("hidden"))) void name(__VA_ARGS__); \
    static constexpr simt::Kernel name##_kernel = {#name, most_threads, simt::Signature<decltype(&name)>::count, \
            simt::Signature<decltype(&name)>::sizes, simt::Signature<decltype(&name)>::invoke<&name>}; \
    __attribute__((constructor)) static void name##_register() { simt_register(&name##_kernel); } \
    extern "C" void name(__VA_ARGS__)

// Registers are as many as it takes.
#define KERNEL_SHARING(most_threads, blocks, name, ...) KERNEL(most_threads, name, __VA_ARGS__)

#define SHARED(type, name, dims) \
    static simt::Site name##_site; \
    auto& name = simt::shared<type dims>(name##_site, #name)

#define DYNAMIC_SHARED(type, name) \
    static simt::Site name##_site; \
    auto name = static_cast<type*>(simt_dynamic_shared(&name##_site, #name, sizeof(type)))

// Threads of a block and of a warp

inline void __syncthreads() { simt_meet(0, 0, 0, simt::Wait::SYNCTHREADS); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { simt_meet(mask, 0, simt_lane(), simt::Wait::SYNCWARP); }
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    return unsigned(simt_meet(mask, predicate != 0, simt_lane(), simt::Wait::BALLOT));
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }

namespace simt {

template <class T> inline T exchange(unsigned mask, T value, unsigned lane) {
    static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8, "a shuffle moves a number");
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof value);
    bits = simt_meet(mask, bits, lane, Wait::SHUFFLE);
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

}  // namespace simt

template <class T> inline T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    return simt::exchange(mask, value, (simt_lane() & ~(width - 1u)) | (source & (width - 1u)));
}
template <class T> inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    unsigned lane = simt_lane();
    return simt::exchange(mask, value, (lane & (width - 1u)) >= delta ? lane - delta : lane);
}
template <class T> inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    unsigned lane = simt_lane();
    return simt::exchange(mask, value, (lane & (width - 1u)) + delta < unsigned(width) ? lane + delta : lane);
}
template <class T> inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
    unsigned lane = simt_lane(), source = lane ^ unsigned(bits);
    return simt::exchange(mask, value, source <= (lane | (width - 1u)) ? source : lane);
}

// Tensor cores

namespace simt {

// What a lane brings to a product of the whole warp, as common/mma.cuh lays it out, and gets from it.
template <class Sum> struct Fragments {
    unsigned a[4], b[2];
    Sum sums[4];
};

// A row of one of four matrices, and what the lane gets of each.
struct MatrixRow {
    unsigned elements[4];
    bool transposed;
    unsigned got[4];
};

template <class Sum> inline void multiply(Sum (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, Wait at) {
    Fragments<Sum> lane = {{a[0], a[1], a[2], a[3]}, {b0, b1}, {sums[0], sums[1], sums[2], sums[3]}};
    simt_meet(0xffffffffu, uint64_t(&lane), simt_lane(), at);
    for (int i = 0; i < 4; i++) {
        sums[i] = lane.sums[i];
    }
}

}  // namespace simt

inline void mma_u8_s8(int (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    simt::multiply(sums, a, b0, b1, simt::Wait::MMA);
}
inline void mma_bf16(float (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    simt::multiply(sums, a, b0, b1, simt::Wait::MMA_BF16);
}

// Vectors, with CUDA's alignment: an access through a pointer that is not aligned so is an error

struct alignas(8) float2 { float x, y; };
struct float3 { float x, y, z; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct int3 { int x, y, z; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) double2 { double x, y; };
struct alignas(2) char2 { signed char x, y; };
struct alignas(4) char4 { signed char x, y, z, w; };
struct alignas(2) uchar2 { unsigned char x, y; };
struct alignas(4) uchar4 { unsigned char x, y, z, w; };

constexpr float2 make_float2(float x, float y) { return {x, y}; }
constexpr float3 make_float3(float x, float y, float z) { return {x, y, z}; }
constexpr float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
constexpr int2 make_int2(int x, int y) { return {x, y}; }
constexpr int3 make_int3(int x, int y, int z) { return {x, y, z}; }
constexpr int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
constexpr uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
constexpr uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
constexpr uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
constexpr double2 make_double2(double x, double y) { return {x, y}; }
constexpr char2 make_char2(signed char x, signed char y) { return {x, y}; }
constexpr char4 make_char4(signed char x, signed char y, signed char z, signed char w) { return {x, y, z, w}; }
constexpr uchar2 make_uchar2(unsigned char x, unsigned char y) { return {x, y}; }
constexpr uchar4 make_uchar4(unsigned char x, unsigned char y, unsigned char z, unsigned char w) { return {x, y, z, w}; }

template <class T> inline T __ldg(const T* address) { return *address; }

// Matrices from shared memory, and copies into it

namespace simt {

inline void load_rows(unsigned (&matrices)[4], const uint4* row, bool transposed) {
    uint4 own = *row;
    MatrixRow lane = {{own.x, own.y, own.z, own.w}, transposed, {}};
    simt_meet(0xffffffffu, uint64_t(&lane), simt_lane(), Wait::LDMATRIX);
    for (int i = 0; i < 4; i++) {
        matrices[i] = lane.got[i];
    }
}

}  // namespace simt

inline void load_matrices(unsigned (&matrices)[4], const uint4* row) { simt::load_rows(matrices, row, false); }
inline void load_transposed(unsigned (&matrices)[4], const uint4* row) { simt::load_rows(matrices, row, true); }

// What is copied arrives as late as it may: until the thread waits, shared memory holds 0xff in every byte.
inline void copy_async(uint4* to, const void* from, bool exists) {
    uint4 bytes = exists ? *static_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
    *to = make_uint4(~0u, ~0u, ~0u, ~0u);
    simt_copy_started(to, &bytes);
}
inline void copy_wait() {
    uint4 bytes;
    while (void* to = simt_copy_done(&bytes)) {
        *static_cast<uint4*>(to) = bytes;
    }
}

// Bits

namespace simt {

template <class To, class From> inline To bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}

}  // namespace simt

inline float __uint_as_float(unsigned x) { return simt::bits<float>(x); }
inline float __int_as_float(int x) { return simt::bits<float>(x); }
inline unsigned __float_as_uint(float x) { return simt::bits<unsigned>(x); }
inline int __float_as_int(float x) { return simt::bits<int>(x); }
inline double __longlong_as_double(long long x) { return simt::bits<double>(x); }
inline long long __double_as_longlong(double x) { return simt::bits<long long>(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
inline int __mulhi(int a, int b) { return int((int64_t(a) * b) >> 32); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int i = 0; i < 32; i++) {
        reversed |= (x >> i & 1u) << (31 - i);
    }
    return reversed;
}
inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 32; i += 8) {
        c += int(int8_t(a >> i)) * int(int8_t(b >> i));
    }
    return c;
}

// Arithmetic. The fast forms of CUDA are the exact ones here

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline long min(long a, long b) { return a < b ? a : b; }
inline long max(long a, long b) { return a > b ? a : b; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a > b ? a : b; }
inline unsigned long min(unsigned long a, unsigned long b) { return a < b ? a : b; }
inline unsigned long max(unsigned long a, unsigned long b) { return a > b ? a : b; }
inline unsigned long long min(unsigned long long a, unsigned long long b) { return a < b ? a : b; }
inline unsigned long long max(unsigned long long a, unsigned long long b) { return a > b ? a : b; }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float exp2_approx(float x) { return exp2f(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
inline float sinpif(float x) { return float(sin(x * 3.14159265358979323846)); }
inline float cospif(float x) { return float(cos(x * 3.14159265358979323846)); }
inline int __float2int_rn(float x) {
    // NaN becomes 0, and what does not fit the nearest that does
    return x != x ? 0 : x >= 0x1p31f ? INT32_MAX : x < -0x1p31f ? INT32_MIN : int(rintf(x));
}
inline int __float2int_rz(float x) { return int(x); }
inline float __int2float_rn(int x) { return float(x); }
inline float __uint2float_rn(unsigned x) { return float(x); }

// bfloat16

struct alignas(2) __nv_bfloat16 {
    unsigned short bits;

    __nv_bfloat16() = default;
    __nv_bfloat16(float x) {
        unsigned u = __float_as_uint(x);
        // A NaN stays one even where only its low bits say so; everything else is rounded to nearest, ties to even.
        bits = x != x ? 0x7fff : (unsigned short)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
    }
    operator float() const { return __uint_as_float(unsigned(bits) << 16); }
};
struct alignas(4) __nv_bfloat162 { __nv_bfloat16 x, y; };

inline __nv_bfloat16 __float2bfloat16(float x) { return __nv_bfloat16(x); }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return __nv_bfloat16(x); }
inline float __bfloat162float(__nv_bfloat16 x) { return float(x); }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return simt::bits<__nv_bfloat16>(bits); }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
inline __nv_bfloat162 __float22bfloat162_rn(float2 v) { return {v.x, v.y}; }
inline float2 __bfloat1622float2(__nv_bfloat162 v) { return {v.x, v.y}; }
inline float __low2float(__nv_bfloat162 v) { return v.x; }
inline float __high2float(__nv_bfloat162 v) { return v.y; }
