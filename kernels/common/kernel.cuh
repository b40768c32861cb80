// What every kernel is written with: how an entry point and shared memory are declared, warps, vectors of 16 bytes.
//
// The same sources are compiled twice: by nvcc to PTX, and by g++ against native/simt/simt.h for machines without a GPU.
// So kernels use CUDA's own names for threads, barriers and shuffles, the two macros below for what C++ cannot imitate,
// and inline PTX only in functions of this folder.
#pragma once

#ifdef SIMT
#include "simt.h"
#else
#include <cuda_bf16.h>

// An entry point with C linkage, launched with up to `threads` threads a block. Parameters are pointers and scalars: the
// launcher checks what it is given against the parameters that the PTX declares.
#define KERNEL(threads, name, ...) extern "C" __global__ void __launch_bounds__(threads) name(__VA_ARGS__)

// The same where `blocks` of them are to share a multiprocessor: the compiler gives each thread no more registers than leaves
// room for them.
#define KERNEL_SHARING(threads, blocks, name, ...) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(__VA_ARGS__)

// An array in the memory of a block, as in SHARED(float, tile, [32][33]). Its content is undefined at first.
#define SHARED(type, name, dims) __shared__ __align__(16) type name dims

// 2^x in one instruction, with a relative error of 2^-22; 0 where the result would be subnormal.
__device__ __forceinline__ float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// An array in the memory of a block, as long as the launch says.
#define DYNAMIC_SHARED(type, name) extern __shared__ __align__(16) type name[]
#endif

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

// Sum over the lanes of a warp, in an order that does not change; every lane gets it.
template <typename T>
__device__ __forceinline__ T warp_sum(T x) {
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
        x += __shfl_xor_sync(ALL_LANES, x, offset);
    }
    return x;
}

// Maximum over the lanes of a warp; NaN is passed over, as by fmaxf.
template <typename T>
__device__ __forceinline__ T warp_max(T x) {
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
        x = max(x, __shfl_xor_sync(ALL_LANES, x, offset));
    }
    return x;
}
