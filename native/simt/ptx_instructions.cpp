// The instructions of PTX that are known here: what each form does to the registers of a warp. Semantics, roundings, and the layouts
// of fragments and matrices are those of NVIDIA's "Parallel Thread Execution ISA", version 8.0, section 9.7.
#include "ptx.h"

#include "driver.h"

#include <cfenv>
#include <limits>
#include <map>
#include <tuple>
#include <type_traits>

namespace simt::ptx {

namespace {

// Values in a row. Those of 8 and 16 bits lie in words, of which they are the lowest bits.
template <class T> struct Stored { using type = T; };
template <> struct Stored<uint8_t> { using type = uint32_t; };
template <> struct Stored<int8_t> { using type = uint32_t; };
template <> struct Stored<uint16_t> { using type = uint32_t; };
template <> struct Stored<int16_t> { using type = uint32_t; };

template <class T> constexpr Type TYPE = std::is_same_v<T, bool> ? Type::PREDICATE : sizeof(T) == 8 ? Type::DOUBLE_WORD : Type::WORD;

template <class T> struct Source {
    const typename Stored<T>::type* row;
    Source(Warp& warp, Place place) : row(warp.row<typename Stored<T>::type>(place)) {}
    T operator[](unsigned lane) const { return T(row[lane]); }
};
template <> struct Source<bool> {
    Lanes bits;
    Source(Warp& warp, Place place) : bits(warp.predicate(place)) {}
    bool operator[](unsigned lane) const { return bits >> lane & 1; }
};

template <class F> inline void for_each_lane(Lanes lanes, F f) {
    for (; lanes != 0; lanes &= lanes - 1) {
        f(unsigned(__builtin_ctz(lanes)));
    }
}

// A result that each thread computes from its own operands. Rows are the same or apart, so lanes never depend on each other.
template <class F, class D, class... A, size_t... N>
inline void compute(Warp& warp, const Instruction& i, Lanes lanes, std::index_sequence<N...>) {
    std::tuple<Source<A>...> a{Source<A>(warp, i.operands[1 + N])...};
    if constexpr (std::is_same_v<D, bool>) {
        int32_t is[32];
        for (unsigned lane = 0; lane < 32; lane++) {
            is[lane] = F()(std::get<N>(a)[lane]...) ? 1 : 0;
        }
        Lanes bits = 0;
        for (unsigned lane = 0; lane < 32; lane++) {
            bits |= Lanes(is[lane]) << lane;
        }
        Lanes& d = warp.predicate(i.operands[0]);
        d = (d & ~lanes) | (bits & lanes);
    } else {
        auto* d = warp.row<typename Stored<D>::type>(i.operands[0]);
        auto result = [&](unsigned lane) { return typename Stored<D>::type(D(F()(std::get<N>(a)[lane]...))); };
        if (lanes == ALL) {
#pragma GCC ivdep
            for (unsigned lane = 0; lane < 32; lane++) {
                d[lane] = result(lane);
            }
        } else {
            for_each_lane(lanes, [&](unsigned lane) { d[lane] = result(lane); });
        }
    }
}
template <class F, class D, class... A> void each(Warp& warp, const Instruction& i, Lanes lanes) {
    compute<F, D, A...>(warp, i, lanes, std::index_sequence_for<A...>());
}

std::map<std::string, Form>& table() {
    static std::map<std::string, Form> forms;
    return forms;
}

template <class D, class... A, class F> void define(const std::string& name, F) {
    table()[name] = {&each<F, D, A...>, Kind::PLAIN, {TYPE<D>}, {TYPE<A>...}};
}

// What a GPU makes of every NaN that arithmetic in fp32 gives; NaNs of fp64 keep their bits.
inline float canonical(float x) { return x != x ? bits<float>(0x7fffffffu) : x; }
inline double canonical(double x) { return x; }

template <class T> inline T smaller(T a, T b) {
    return a != a ? canonical(b) : b != b ? a : a == b ? (std::signbit(a) ? a : b) : a < b ? a : b;
}
template <class T> inline T larger(T a, T b) {
    return a != a ? canonical(b) : b != b ? a : a == b ? (std::signbit(a) ? b : a) : a > b ? a : b;
}

// Nearest, ties to even; what does not fit becomes the nearest that does, NaN 0 (or the least of 64 bits).
template <class To, class From> inline To to_integer(From x) {
    constexpr From END = From(sizeof(To) == 4 ? 4294967296.0 : 18446744073709551616.0) / (std::is_signed_v<To> ? 2 : 1);
    if (x != x) {
        return sizeof(To) == 4 ? To(0) : To(uint64_t(1) << 63);
    }
    return x >= END ? std::numeric_limits<To>::max() : x < (std::is_signed_v<To> ? -END : From(0)) ? std::numeric_limits<To>::min() : To(x);
}

inline uint16_t to_bf16(float x) {
    uint32_t u = bits<uint32_t>(x);
    return x != x ? 0x7fff : uint16_t((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

inline float flush(float x) { return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x; }

inline uint32_t permuted(uint32_t a, uint32_t b, uint32_t selector) {
    uint64_t from = uint64_t(b) << 32 | a;
    uint32_t d = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t nibble = selector >> 4 * i & 15;
        uint32_t byte = uint32_t(from >> 8 * (nibble & 7)) & 0xff;
        d |= (nibble & 8 ? (byte & 0x80 ? 0xffu : 0u) : byte) << 8 * i;
    }
    return d;
}

inline uint32_t reversed(uint32_t x) {
    uint32_t d = 0;
    for (unsigned i = 0; i < 32; i++) {
        d |= (x >> i & 1u) << (31 - i);
    }
    return d;
}

template <class T> void integers(const std::string& type) {
    using U = std::make_unsigned_t<T>;
    define<T, T, T>("add." + type, [](T a, T b) { return T(U(a) + U(b)); });
    define<T, T, T>("sub." + type, [](T a, T b) { return T(U(a) - U(b)); });
    define<T, T, T>("mul.lo." + type, [](T a, T b) { return T(uint64_t(a) * uint64_t(b)); });
    define<T, T, T, T>("mad.lo." + type, [](T a, T b, T c) { return T(uint64_t(a) * uint64_t(b) + uint64_t(c)); });
    define<T, T, T>("min." + type, [](T a, T b) { return a < b ? a : b; });
    define<T, T, T>("max." + type, [](T a, T b) { return a > b ? a : b; });
    // a divisor of zero gives what NVIDIA leaves open; here all ones, as GPUs do
    define<T, T, T>("div." + type, [](T a, T b) { return b == 0 ? T(~T(0)) : b == T(-1) && std::is_signed_v<T> ? T(U(0) - U(a)) : T(a / b); });
    define<T, T, T>("rem." + type, [](T a, T b) { return b == 0 ? a : b == T(-1) && std::is_signed_v<T> ? T(0) : T(a % b); });
    define<T, T, uint32_t>("shr." + type, [](T a, uint32_t n) { return n < 8 * sizeof(T) ? T(a >> n) : T(a < 0 ? -1 : 0); });
    if constexpr (sizeof(T) > 2) {
        using Wide = std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>,
                std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>>;
        define<T, T, T>("mul.hi." + type, [](T a, T b) { return T((Wide(a) * Wide(b)) >> 8 * sizeof(T)); });
    }
    if constexpr (sizeof(T) < 8) {
        using Wide = std::conditional_t<sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>,
                std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>;
        define<Wide, T, T>("mul.wide." + type, [](T a, T b) { return Wide(Wide(a) * Wide(b)); });
        define<Wide, T, T, Wide>("mad.wide." + type, [](T a, T b, Wide c) { return Wide(uint64_t(Wide(a) * Wide(b)) + uint64_t(c)); });
    }
    if constexpr (std::is_signed_v<T>) {
        define<T, T>("neg." + type, [](T a) { return T(U(0) - U(a)); });
        define<T, T>("abs." + type, [](T a) { return a < 0 ? T(U(0) - U(a)) : a; });
    }
}

template <class T> void logic(const std::string& type) {
    define<T, T, T>("and." + type, [](T a, T b) { return T(a & b); });
    define<T, T, T>("or." + type, [](T a, T b) { return T(a | b); });
    define<T, T, T>("xor." + type, [](T a, T b) { return T(a ^ b); });
    if constexpr (std::is_same_v<T, bool>) {
        define<T, T>("not." + type, [](T a) { return !a; });
    } else {
        define<T, T>("not." + type, [](T a) { return T(~a); });
        define<T, T, uint32_t>("shl." + type, [](T a, uint32_t n) { return n < 8 * sizeof(T) ? T(a << n) : T(0); });
    }
}

template <class T> void selections(const std::string& type) {
    define<T, T, T, bool>("selp." + type, [](T a, T b, bool p) { return p ? a : b; });
    define<T, T>("mov." + type, [](T a) { return a; });
}

template <class T> void comparisons(const std::string& type) {
    define<bool, T, T>("setp.eq." + type, [](T a, T b) { return a == b; });
    define<bool, T, T>("setp.ne." + type, [](T a, T b) { return a < b || a > b; });
    define<bool, T, T>("setp.lt." + type, [](T a, T b) { return a < b; });
    define<bool, T, T>("setp.le." + type, [](T a, T b) { return a <= b; });
    define<bool, T, T>("setp.gt." + type, [](T a, T b) { return a > b; });
    define<bool, T, T>("setp.ge." + type, [](T a, T b) { return a >= b; });
    if constexpr (std::is_floating_point_v<T>) {  // true also where an operand is NaN
        define<bool, T, T>("setp.equ." + type, [](T a, T b) { return !(a < b || a > b); });
        define<bool, T, T>("setp.neu." + type, [](T a, T b) { return !(a == b); });
        define<bool, T, T>("setp.ltu." + type, [](T a, T b) { return !(a >= b); });
        define<bool, T, T>("setp.leu." + type, [](T a, T b) { return !(a > b); });
        define<bool, T, T>("setp.gtu." + type, [](T a, T b) { return !(a <= b); });
        define<bool, T, T>("setp.geu." + type, [](T a, T b) { return !(a < b); });
        define<bool, T, T>("setp.num." + type, [](T a, T b) { return a == a && b == b; });
        define<bool, T, T>("setp.nan." + type, [](T a, T b) { return a != a || b != b; });
    }
}

template <class T> void floats(const std::string& type) {
    // Without a rounding in its name an operation is to nearest too; a compiler could fuse two of those, which is not done here.
    for (const char* rounding : {".", ".rn."}) {
        define<T, T, T>("add" + (rounding + type), [](T a, T b) { return canonical(a + b); });
        define<T, T, T>("sub" + (rounding + type), [](T a, T b) { return canonical(a - b); });
        define<T, T, T>("mul" + (rounding + type), [](T a, T b) { return canonical(a * b); });
    }
    define<T, T, T, T>("fma.rn." + type, [](T a, T b, T c) { return canonical(std::fma(a, b, c)); });
    define<T, T, T>("div.rn." + type, [](T a, T b) { return canonical(a / b); });
    define<T, T>("rcp.rn." + type, [](T a) { return canonical(T(1) / a); });
    define<T, T>("sqrt.rn." + type, [](T a) { return canonical(std::sqrt(a)); });
    define<T, T, T>("min." + type, [](T a, T b) { return smaller(a, b); });
    define<T, T, T>("max." + type, [](T a, T b) { return larger(a, b); });
    define<T, T>("neg." + type, [](T a) { return -a; });
    define<T, T>("abs." + type, [](T a) { return std::fabs(a); });
    define<T, T>("cvt.rni." + type + "." + type, [](T a) { return canonical(std::nearbyint(a)); });
    define<T, T>("cvt.rzi." + type + "." + type, [](T a) { return canonical(std::trunc(a)); });
    define<T, T>("cvt.rmi." + type + "." + type, [](T a) { return canonical(std::floor(a)); });
    define<T, T>("cvt.rpi." + type + "." + type, [](T a) { return canonical(std::ceil(a)); });
    define<T, T>("cvt.sat." + type + "." + type, [](T a) { return a > T(0) ? (a < T(1) ? a : T(1)) : T(0); });
}

template <class To, class From> void to_integers(const std::string& to, const std::string& from) {
    define<To, From>("cvt.rni." + to + "." + from, [](From a) { return to_integer<To>(std::nearbyint(a)); });
    define<To, From>("cvt.rzi." + to + "." + from, [](From a) { return to_integer<To>(std::trunc(a)); });
    define<To, From>("cvt.rmi." + to + "." + from, [](From a) { return to_integer<To>(std::floor(a)); });
    define<To, From>("cvt.rpi." + to + "." + from, [](From a) { return to_integer<To>(std::ceil(a)); });
    define<From, To>("cvt.rn." + from + "." + to, [](To a) { return From(a); });
}

template <class To, class... From> void conversions(const std::string& to, const std::vector<std::string>& from) {
    unsigned n = 0;
    ((define<To, From>("cvt." + to + "." + from[n++], [](From a) { return To(a); })), ...);
}
template <class To> void conversions(const std::string& to) {
    conversions<To, uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, uint64_t, int64_t>(
            to, {"u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"});
}

// Rounds towards minus infinity, which is a mode of the processor.
void fma_down(Warp& warp, const Instruction& i, Lanes lanes) {
    const float *a = warp.row<float>(i.operands[1]), *b = warp.row<float>(i.operands[2]), *c = warp.row<float>(i.operands[3]);
    float* d = warp.row<float>(i.operands[0]);
    int before = std::fegetround();
    std::fesetround(FE_DOWNWARD);
    for_each_lane(lanes, [&](unsigned lane) {
        // volatile: the compiler takes it that the mode does not change
        volatile float x = a[lane], y = b[lane], z = c[lane];
        volatile float sum = std::fma(x, y, z);
        d[lane] = canonical(sum);
    });
    std::fesetround(before);
}

// Those of a warp together

void shuffle(Warp& warp, const Instruction& i, Lanes lanes, uint32_t (*source)(uint32_t lane, uint32_t b, uint32_t least, uint32_t most),
        bool (*exists)(uint32_t source, uint32_t least, uint32_t most)) {
    const uint32_t *a = warp.row<uint32_t>(i.operands[2]), *b = warp.row<uint32_t>(i.operands[3]), *c = warp.row<uint32_t>(i.operands[4]);
    uint32_t got[32];
    Lanes inside = 0;
    for_each_lane(lanes, [&](unsigned lane) {
        uint32_t segment = c[lane] >> 8 & 31, clamp = c[lane] & 31;
        uint32_t most = (lane & segment) | (clamp & ~segment), least = lane & segment;
        uint32_t from = source(lane, b[lane] & 31, least, most);
        bool in = exists(from, least, most);
        from = in ? from & 31 : lane;
        if (!(lanes >> from & 1)) {
            simt_current = &warp.threads[lane];
            fail(CUDA_ERROR_LAUNCH_FAILED, "reads lane %u in a shuffle that this lane takes no part in", from);
        }
        got[lane] = a[from];
        inside |= Lanes(in) << lane;
    });
    uint32_t* d = warp.row<uint32_t>(i.operands[0]);
    for_each_lane(lanes, [&](unsigned lane) { d[lane] = got[lane]; });
    if (i.operands[1] != NONE) {
        Lanes& p = warp.predicate(i.operands[1]);
        p = (p & ~lanes) | inside;
    }
}
bool up_to_most(uint32_t source, uint32_t, uint32_t most) { return int(source) <= int(most); }

void shuffle_butterfly(Warp& warp, const Instruction& i, Lanes lanes) {
    shuffle(warp, i, lanes, [](uint32_t lane, uint32_t b, uint32_t, uint32_t) { return lane ^ b; }, up_to_most);
}
void shuffle_index(Warp& warp, const Instruction& i, Lanes lanes) {
    shuffle(warp, i, lanes, [](uint32_t, uint32_t b, uint32_t least, uint32_t) { return least | b; }, up_to_most);
}
void shuffle_down(Warp& warp, const Instruction& i, Lanes lanes) {
    shuffle(warp, i, lanes, [](uint32_t lane, uint32_t b, uint32_t, uint32_t) { return lane + b; }, up_to_most);
}
void shuffle_up(Warp& warp, const Instruction& i, Lanes lanes) {
    shuffle(warp, i, lanes, [](uint32_t lane, uint32_t b, uint32_t, uint32_t) { return lane - b; },
            [](uint32_t source, uint32_t, uint32_t most) { return int(source) >= int(most); });
}

void vote_ballot(Warp& warp, const Instruction& i, Lanes lanes) {
    Lanes votes = warp.predicate(i.operands[1]) & lanes;
    uint32_t* d = warp.row<uint32_t>(i.operands[0]);
    for_each_lane(lanes, [&](unsigned lane) { d[lane] = votes; });
}
void vote(Warp& warp, const Instruction& i, Lanes lanes, bool all) {
    Lanes votes = warp.predicate(i.operands[1]) & lanes;
    Lanes& d = warp.predicate(i.operands[0]);
    d = (all ? votes == lanes : votes != 0) ? d | lanes : d & ~lanes;
}
void vote_any(Warp& warp, const Instruction& i, Lanes lanes) { vote(warp, i, lanes, false); }
void vote_all(Warp& warp, const Instruction& i, Lanes lanes) { vote(warp, i, lanes, true); }

void sync_warp(Warp& warp, const Instruction&, Lanes lanes) { count_syncwarp(*warp.common, lanes); }

// mma.m16n8k16 with .bf16 (9.7.13.4.8): of a, lane 4 g + t holds in register r, low half first, the elements of row g (r even) or
// g + 8 (r odd) and of columns 2 t, 2 t + 1 (r < 2) or 2 t + 8, 2 t + 9; of b, in register r, those of column g and of rows 2 t + 8 r,
// 2 t + 8 r + 1; of c and d, in register r, that of row g (r < 2) or g + 8 and column 2 t + r % 2.
void mma_bf16(Warp& warp, const Instruction& i, Lanes) {
    static float a[16][16], b[16][8], c[16][8];
    for (unsigned lane = 0; lane < 32; lane++) {
        unsigned g = lane / 4, t = lane % 4;
        for (unsigned r = 0; r < 4; r++) {
            uint32_t pair = warp.row<uint32_t>(i.operands[4 + r])[lane];
            unsigned row = r % 2 == 0 ? g : g + 8, column = 2 * t + (r < 2 ? 0 : 8);
            a[row][column] = bits<float>(pair << 16);
            a[row][column + 1] = bits<float>(pair & 0xffff0000u);
            c[r < 2 ? g : g + 8][2 * t + r % 2] = warp.row<float>(i.operands[10 + r])[lane];
        }
        for (unsigned r = 0; r < 2; r++) {
            uint32_t pair = warp.row<uint32_t>(i.operands[8 + r])[lane];
            b[2 * t + 8 * r][g] = bits<float>(pair << 16);
            b[2 * t + 8 * r + 1][g] = bits<float>(pair & 0xffff0000u);
        }
    }
    for (unsigned row = 0; row < 16; row++) {
        for (unsigned k = 0; k < 16; k++) {
            for (unsigned column = 0; column < 8; column++) {
                c[row][column] += a[row][k] * b[k][column];
            }
        }
    }
    for (unsigned r = 0; r < 4; r++) {
        float* d = warp.row<float>(i.operands[r]);
        for (unsigned lane = 0; lane < 32; lane++) {
            d[lane] = canonical(c[lane / 4 + (r < 2 ? 0 : 8)][lane % 4 * 2 + r % 2]);
        }
    }
}

// mma.m16n8k32 with .u8 and .s8 (9.7.13.4.10): of a, lane 4 g + t holds in register r, lowest byte first, the elements of row g (r even)
// or g + 8 (r odd) and of columns 4 t to 4 t + 3 (r < 2) or those 16 further on; of b, in register r, those of column g and of rows 4 t + 16 r to
// 4 t + 16 r + 3; c and d as above.
void mma_u8_s8(Warp& warp, const Instruction& i, Lanes) {
    static int32_t a[16][32], b[32][8];
    static uint32_t c[16][8];  // sums wrap
    for (unsigned lane = 0; lane < 32; lane++) {
        unsigned g = lane / 4, t = lane % 4;
        for (unsigned r = 0; r < 4; r++) {
            uint32_t four = warp.row<uint32_t>(i.operands[4 + r])[lane];
            for (unsigned n = 0; n < 4; n++) {
                a[r % 2 == 0 ? g : g + 8][4 * t + n + (r < 2 ? 0 : 16)] = uint8_t(four >> 8 * n);
            }
            c[r < 2 ? g : g + 8][2 * t + r % 2] = warp.row<uint32_t>(i.operands[10 + r])[lane];
        }
        for (unsigned r = 0; r < 2; r++) {
            uint32_t four = warp.row<uint32_t>(i.operands[8 + r])[lane];
            for (unsigned n = 0; n < 4; n++) {
                b[4 * t + n + 16 * r][g] = int8_t(four >> 8 * n);
            }
        }
    }
    for (unsigned row = 0; row < 16; row++) {
        for (unsigned k = 0; k < 32; k++) {
            for (unsigned column = 0; column < 8; column++) {
                c[row][column] += uint32_t(a[row][k] * b[k][column]);
            }
        }
    }
    for (unsigned r = 0; r < 4; r++) {
        uint32_t* d = warp.row<uint32_t>(i.operands[r]);
        for (unsigned lane = 0; lane < 32; lane++) {
            d[lane] = c[lane / 4 + (r < 2 ? 0 : 8)][lane % 4 * 2 + r % 2];
        }
    }
}

// ldmatrix.m8n8.x4 (9.7.13.4.15): lanes 8 m to 8 m + 7 bring the addresses of matrix m's rows, of eight elements of 16 bits each; lane 4 g + t gets
// columns 2 t and 2 t + 1 of row g of each, or where transposed rows 2 t and 2 t + 1 of column g.
template <bool TRANSPOSED> void load_matrices(Warp& warp, const Instruction& i, Lanes) {
    uint16_t elements[4][8][8];
    const uint32_t* addresses = warp.row<uint32_t>(i.operands[4]);
    for (unsigned lane = 0; lane < 32; lane++) {
        const char* row = shared_memory(warp, lane, uint32_t(addresses[lane] + uint32_t(i.number)), 16, false);
        std::memcpy(elements[lane / 8][lane % 8], row, 16);
    }
    for (unsigned m = 0; m < 4; m++) {
        uint32_t* d = warp.row<uint32_t>(i.operands[m]);
        for (unsigned lane = 0; lane < 32; lane++) {
            unsigned g = lane / 4, t = lane % 4;
            d[lane] = TRANSPOSED ? elements[m][2 * t][g] | uint32_t(elements[m][2 * t + 1][g]) << 16
                                 : elements[m][g][2 * t] | uint32_t(elements[m][g][2 * t + 1]) << 16;
        }
    }
}

// cp.async of 16 bytes, of which only the first ones are read and the rest is zero (9.7.8.22.3.1).
void copy_async(Warp& warp, const Instruction& i, Lanes lanes) {
    const uint32_t *to = warp.row<uint32_t>(i.operands[0]), *bytes = warp.row<uint32_t>(i.operands[2]);
    const uint64_t* from = warp.row<uint64_t>(i.operands[1]);
    for_each_lane(lanes, [&](unsigned lane) {
        start_copy(warp, lane, uint32_t(to[lane] + i.number), from[lane] + uint64_t(int64_t(int32_t(i.target))), bytes[lane]);
    });
}
void copy_wait(Warp& warp, const Instruction&, Lanes lanes) {
    for_each_lane(lanes, [&](unsigned lane) { finish_copies(warp, lane); });
}

void nothing(Warp&, const Instruction&, Lanes) {}

bool define_all() {
    integers<int16_t>("s16");
    integers<uint16_t>("u16");
    integers<int32_t>("s32");
    integers<uint32_t>("u32");
    integers<int64_t>("s64");
    integers<uint64_t>("u64");
    logic<bool>("pred");
    logic<uint16_t>("b16");
    logic<uint32_t>("b32");
    logic<uint64_t>("b64");
    for (const char* kind : {"b", "u", "s"}) {
        selections<uint16_t>(kind + std::string("16"));
        selections<uint32_t>(kind + std::string("32"));
        selections<uint64_t>(kind + std::string("64"));
    }
    selections<float>("f32");
    selections<double>("f64");
    define<bool, bool>("mov.pred", [](bool a) { return a; });
    comparisons<int16_t>("s16");
    comparisons<uint16_t>("u16");
    comparisons<int32_t>("s32");
    comparisons<uint32_t>("u32");
    comparisons<int64_t>("s64");
    comparisons<uint64_t>("u64");
    comparisons<float>("f32");
    comparisons<double>("f64");
    for (const char* comparison : {"eq", "ne"}) {
        for (const char* width : {"16", "32", "64"}) {
            table()[std::string("setp.") + comparison + ".b" + width] = table()[std::string("setp.") + comparison + ".u" + width];
        }
    }
    floats<float>("f32");
    floats<double>("f64");
    to_integers<int32_t, float>("s32", "f32");
    to_integers<uint32_t, float>("u32", "f32");
    to_integers<int64_t, float>("s64", "f32");
    to_integers<uint64_t, float>("u64", "f32");
    to_integers<int32_t, double>("s32", "f64");
    to_integers<uint32_t, double>("u32", "f64");
    to_integers<int64_t, double>("s64", "f64");
    to_integers<uint64_t, double>("u64", "f64");
    conversions<uint16_t>("u16");
    conversions<int16_t>("s16");
    conversions<uint32_t>("u32");
    conversions<int32_t>("s32");
    conversions<uint64_t>("u64");
    conversions<int64_t>("s64");
    define<double, float>("cvt.f64.f32", [](float a) { return double(a); });
    define<float, double>("cvt.rn.f32.f64", [](double a) { return canonical(float(a)); });
    define<uint16_t, float>("cvt.rn.bf16.f32", [](float a) { return to_bf16(a); });
    define<uint32_t, float, float>("cvt.rn.bf16x2.f32", [](float a, float b) { return uint32_t(to_bf16(a)) << 16 | to_bf16(b); });
    table()["fma.rm.f32"] = {&fma_down, Kind::PLAIN, {Type::WORD}, {Type::WORD, Type::WORD, Type::WORD}};
    define<float, float>("ex2.approx.ftz.f32", [](float a) { return canonical(flush(std::exp2(flush(a)))); });
    // the upper half of the result is near, the lower one zero
    define<double, double>("rcp.approx.ftz.f64", [](double a) { return bits<double>(bits<uint64_t>(1.0 / a) & ~uint64_t(0xffffffffu)); });
    define<uint32_t, uint32_t, uint32_t, uint32_t>("prmt.b32", [](uint32_t a, uint32_t b, uint32_t c) { return permuted(a, b, c); });
    define<uint32_t, uint32_t, uint32_t, uint32_t, uint32_t>("bfi.b32", [](uint32_t a, uint32_t b, uint32_t position, uint32_t length) {
        position &= 0xff;
        length &= 0xff;
        uint64_t field = position < 32 ? ((length < 32 ? uint64_t(1) << length : uint64_t(1) << 32) - 1) << position : 0;
        return uint32_t((b & ~field) | ((uint64_t(a) << (position & 31)) & field));
    });
    define<uint32_t, uint32_t>("bfind.shiftamt.u32", [](uint32_t a) { return a == 0 ? ~0u : uint32_t(__builtin_clz(a)); });
    define<uint32_t, uint32_t>("bfind.u32", [](uint32_t a) { return a == 0 ? ~0u : 31 - uint32_t(__builtin_clz(a)); });
    define<uint32_t, uint32_t>("brev.b32", [](uint32_t a) { return reversed(a); });
    define<uint32_t, uint32_t>("popc.b32", [](uint32_t a) { return uint32_t(__builtin_popcount(a)); });
    define<uint32_t, uint32_t>("clz.b32", [](uint32_t a) { return a == 0 ? 32u : uint32_t(__builtin_clz(a)); });

    define<uint64_t, uint64_t>("cvta.to.global.u64", [](uint64_t a) { return a; });
    define<uint64_t, uint64_t>("cvta.global.u64", [](uint64_t a) { return a; });
    define<uint64_t, uint64_t>("cvta.shared.u64", [](uint64_t a) { return a + uint64_t(machine.shared); });
    define<uint64_t, uint64_t>("cvta.to.shared.u64", [](uint64_t a) { return a - uint64_t(machine.shared); });
    define<uint64_t, uint64_t>("cvta.local.u64", [](uint64_t a) { return a + LOCAL_WINDOW; });
    define<uint64_t, uint64_t>("cvta.to.local.u64", [](uint64_t a) { return a - LOCAL_WINDOW; });

    constexpr Type P = Type::PREDICATE, W = Type::WORD, D = Type::DOUBLE_WORD;
    auto& forms = table();
    forms["shfl.sync.bfly.b32"] = {&shuffle_butterfly, Kind::TOGETHER, {W, P}, {W, W, W, W}};
    forms["shfl.sync.idx.b32"] = {&shuffle_index, Kind::TOGETHER, {W, P}, {W, W, W, W}};
    forms["shfl.sync.down.b32"] = {&shuffle_down, Kind::TOGETHER, {W, P}, {W, W, W, W}};
    forms["shfl.sync.up.b32"] = {&shuffle_up, Kind::TOGETHER, {W, P}, {W, W, W, W}};
    forms["vote.sync.ballot.b32"] = {&vote_ballot, Kind::TOGETHER, {W}, {P, W}};
    forms["vote.sync.any.pred"] = {&vote_any, Kind::TOGETHER, {P}, {P, W}};
    forms["vote.sync.all.pred"] = {&vote_all, Kind::TOGETHER, {P}, {P, W}};
    forms["bar.warp.sync"] = {&sync_warp, Kind::TOGETHER, {}, {W}};
    forms["bar.sync"] = {&nothing, Kind::BARRIER, {}, {W}};
    forms["mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"] = {&mma_bf16, Kind::WHOLE_WARP, {W, W, W, W}, {W, W, W, W, W, W, W, W, W, W}};
    forms["mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32"] = {&mma_u8_s8, Kind::WHOLE_WARP, {W, W, W, W}, {W, W, W, W, W, W, W, W, W, W}};
    forms["ldmatrix.sync.aligned.m8n8.x4.shared.b16"] = {&load_matrices<false>, Kind::WHOLE_WARP, {W, W, W, W}, {W}};
    forms["ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16"] = {&load_matrices<true>, Kind::WHOLE_WARP, {W, W, W, W}, {W}};
    forms["cp.async.cg.shared.global"] = {&copy_async, Kind::PLAIN, {}, {W, D, W}};
    forms["cp.async.wait_all"] = {&copy_wait, Kind::PLAIN, {}, {}};
    forms["bra"] = {&nothing, Kind::BRANCH, {}, {}};
    forms["bra.uni"] = {&nothing, Kind::BRANCH, {}, {}};
    forms["call"] = {&nothing, Kind::CALL, {}, {}};
    forms["call.uni"] = {&nothing, Kind::CALL, {}, {}};
    forms["ret"] = {&nothing, Kind::RETURN, {}, {}};
    return true;
}

// Loads and stores

char* memory(Warp& warp, Space space, unsigned lane, uint64_t address, unsigned bytes, bool write) {
    switch (space) {
        case Space::GLOBAL: return global_memory(warp, lane, address, bytes, write);
        case Space::SHARED: return shared_memory(warp, lane, address, bytes, write);
        case Space::LOCAL: return local_memory(warp, lane, address, bytes, write);
        default: {
            uint64_t offset = address - uint64_t(machine.shared);
            return offset < SHARED_ARENA ? shared_memory(warp, lane, offset, bytes, write)
                    : address - LOCAL_WINDOW < warp.program->local_bytes ? local_memory(warp, lane, address - LOCAL_WINDOW, bytes, write)
                                                                         : global_memory(warp, lane, address, bytes, write);
        }
    }
}

// Elements of T in registers of R. Operands of a load are its results and then the address, of a store the address and then what is stored.
template <bool STORE, class T, class R> void move(Warp& warp, const Instruction& i, Lanes lanes) {
    R* rows[MOST_MOVED];
    for (unsigned n = 0; n < i.count; n++) {
        rows[n] = warp.row<R>(i.operands[STORE ? n + 1 : n]);
    }
    Place base = i.operands[STORE ? 0 : i.count];
    uint64_t addresses[32];  // a load may write over what they are made of
    for_each_lane(lanes, [&](unsigned lane) {
        addresses[lane] = i.wide_address ? warp.row<uint64_t>(base)[lane] + uint64_t(i.number) : uint32_t(warp.row<uint32_t>(base)[lane] + i.number);
    });
    for_each_lane(lanes, [&](unsigned lane) {
        char* at = memory(warp, i.space, lane, addresses[lane], sizeof(T) * i.count, STORE);
        for (unsigned n = 0; n < i.count; n++) {
            T value;
            if constexpr (STORE) {
                value = T(rows[n][lane]);
                std::memcpy(at + n * sizeof(T), &value, sizeof value);
            } else {
                std::memcpy(&value, at + n * sizeof(T), sizeof value);
                rows[n][lane] = R(value);
            }
        }
    });
}

// Parameters of a kernel are the same for all threads, those of a function are each thread's own.
template <bool ENTRY, bool STORE, class T, class R> void move_parameter(Warp& warp, const Instruction& i, Lanes lanes) {
    R* row = warp.row<R>(i.operands[0]);
    for_each_lane(lanes, [&](unsigned lane) {
        T value;
        if constexpr (STORE) {
            value = T(row[lane]);
            std::memcpy(warp.parameters + size_t(lane) * warp.program->parameter_bytes + i.number, &value, sizeof value);
        } else {
            std::memcpy(&value, ENTRY ? reinterpret_cast<const char*>(warp.entry_parameters) + i.number
                                      : warp.parameters + size_t(lane) * warp.program->parameter_bytes + i.number, sizeof value);
            row[lane] = R(value);
        }
    });
}

template <bool STORE, class T, class R> Action of_space(Space space) {
    switch (space) {
        case Space::PARAM: return &move_parameter<false, STORE, T, R>;
        case Space::ENTRY_PARAM: return STORE ? nullptr : &move_parameter<true, false, T, R>;
        default: return &move<STORE, T, R>;
    }
}

template <class T> Action of_type(bool store, Space space, bool wide) {
    using Sign = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
    using Word = std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>;
    if constexpr (sizeof(T) == 8) {
        return !wide ? nullptr : store ? of_space<true, T, T>(space) : of_space<false, T, T>(space);
    } else if (wide) {
        return store ? of_space<true, T, Sign>(space) : of_space<false, T, Sign>(space);
    } else {
        return store ? of_space<true, T, Word>(space) : of_space<false, T, Word>(space);
    }
}

// Packs registers into one, lowest first, or takes them apart. Parts that nobody wants are NONE.
template <class Part, class Whole, unsigned PARTS> void pack(Warp& warp, const Instruction& i, Lanes lanes) {
    Whole whole[32] = {};
    for (unsigned n = 0; n < PARTS; n++) {
        const uint32_t* part = warp.row<uint32_t>(i.operands[1 + n]);
        for (unsigned lane = 0; lane < 32; lane++) {
            whole[lane] |= Whole(Part(part[lane])) << 8 * sizeof(Part) * n;
        }
    }
    Whole* d = warp.row<Whole>(i.operands[0]);
    for_each_lane(lanes, [&](unsigned lane) { d[lane] = whole[lane]; });
}
template <class Part, class Whole, unsigned PARTS> void unpack(Warp& warp, const Instruction& i, Lanes lanes) {
    Whole whole[32];
    std::memcpy(whole, warp.row<Whole>(i.operands[PARTS]), sizeof whole);
    for (unsigned n = 0; n < PARTS; n++) {
        if (i.operands[n] == NONE) {
            continue;
        }
        uint32_t* d = warp.row<uint32_t>(i.operands[n]);
        for_each_lane(lanes, [&](unsigned lane) { d[lane] = Part(whole[lane] >> 8 * sizeof(Part) * n); });
    }
}

}  // namespace

const Form* find_form(const std::string& opcode) {
    static const bool defined = define_all();
    auto found = table().find(opcode);
    return defined && found != table().end() ? &found->second : nullptr;
}

Action find_memory_action(bool store, Space space, const std::string& type, bool wide) {
    if (type == "u8" || type == "b8") {
        return of_type<uint8_t>(store, space, wide);
    } else if (type == "s8") {
        return of_type<int8_t>(store, space, wide);
    } else if (type == "u16" || type == "b16") {
        return of_type<uint16_t>(store, space, wide);
    } else if (type == "s16") {
        return of_type<int16_t>(store, space, wide);
    } else if (type == "u32" || type == "b32" || type == "f32") {
        return of_type<uint32_t>(store, space, wide);
    } else if (type == "s32") {
        return of_type<int32_t>(store, space, wide);
    } else if (type == "u64" || type == "b64" || type == "s64" || type == "f64") {
        return of_type<uint64_t>(store, space, wide);
    }
    return nullptr;
}

Action find_pack_action(unsigned parts, bool taking_apart, unsigned part_bits) {
    if (parts == 2 && part_bits == 16) {
        return taking_apart ? &unpack<uint16_t, uint32_t, 2> : &pack<uint16_t, uint32_t, 2>;
    } else if (parts == 2 && part_bits == 32) {
        return taking_apart ? &unpack<uint32_t, uint64_t, 2> : &pack<uint32_t, uint64_t, 2>;
    } else if (parts == 4 && part_bits == 16) {
        return taking_apart ? &unpack<uint16_t, uint64_t, 4> : &pack<uint16_t, uint64_t, 4>;
    }
    return nullptr;
}

}  // namespace simt::ptx
