// Vectors of the width of the instructions that a file is compiled for, and sums whose order no width changes.
#pragma once

#include <cstdint>
#include <cstring>

#if defined __x86_64__
#include <immintrin.h>
#elif defined __aarch64__
#include <arm_neon.h>
#endif

// AddressSanitizer does not look at masked instructions, so builds with it copy instead.
#if defined __AVX2__ && !defined __SANITIZE_ADDRESS__
#define MASKS
#endif

// Without a name outside of the file that includes them, since each is compiled for other instructions.
namespace {

#if defined __AVX512F__
constexpr int W = 16;  // floats of a vector
#elif defined __AVX2__
constexpr int W = 8;
#else
constexpr int W = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * W), may_alias, aligned(4)));
typedef int32_t Ints __attribute__((vector_size(4 * W), may_alias, aligned(4)));
typedef float Four __attribute__((vector_size(16), may_alias, aligned(4)));

inline const Floats& floats(const float* x) {
    return *reinterpret_cast<const Floats*>(x);
}

inline Floats& floats(float* x) {
    return *reinterpret_cast<Floats*>(x);
}

inline const Four& four(const float* x) {
    return *reinterpret_cast<const Four*>(x);
}

inline Four& four(float* x) {
    return *reinterpret_cast<Four*>(x);
}

/** Four rows of four: element j of row i for element i of row j. */
inline void transpose(Four* rows) {
    typedef int32_t Index __attribute__((vector_size(16)));
    Four a = __builtin_shuffle(rows[0], rows[1], Index{0, 4, 1, 5}), b = __builtin_shuffle(rows[0], rows[1], Index{2, 6, 3, 7});
    Four c = __builtin_shuffle(rows[2], rows[3], Index{0, 4, 1, 5}), d = __builtin_shuffle(rows[2], rows[3], Index{2, 6, 3, 7});
    rows[0] = __builtin_shuffle(a, c, Index{0, 1, 4, 5});
    rows[1] = __builtin_shuffle(a, c, Index{2, 3, 6, 7});
    rows[2] = __builtin_shuffle(b, d, Index{0, 1, 4, 5});
    rows[3] = __builtin_shuffle(b, d, Index{2, 3, 6, 7});
}

/** All bits set in the first n elements, none in the others. */
inline Ints first(int n) {
    Ints index;
    for (int i = 0; i < W; i++) {
        index[i] = i;
    }
    return index < n;
}

/** The first n floats, then zeros. */
inline Floats some(const float* x, int n) {
#if defined MASKS && defined __AVX512F__
    return _mm512_maskz_loadu_ps((1 << n) - 1, x);
#elif defined MASKS
    return _mm256_maskload_ps(x, reinterpret_cast<__m256i>(first(n)));
#else
    Floats y = {};
    memcpy(&y, x, sizeof(float) * n);
    return y;
#endif
}

inline void store_some(float* y, Floats x, int n) {
#if defined MASKS && defined __AVX512F__
    _mm512_mask_storeu_ps(y, (1 << n) - 1, x);
#elif defined MASKS
    _mm256_maskstore_ps(y, reinterpret_cast<__m256i>(first(n)), x);
#else
    memcpy(y, &x, sizeof(float) * n);
#endif
}

/** x in all elements; adding it to zeros would make 0 of -0. */
inline Floats all(float x) {
    return x - Floats{};
}

/** a * b + c, rounded once. */
inline Floats fma(Floats a, Floats b, Floats c) {
#if defined __AVX512F__
    return _mm512_fmadd_ps(a, b, c);
#elif defined __AVX2__
    return _mm256_fmadd_ps(a, b, c);
#else
    return vfmaq_f32(c, a, b);
#endif
}

inline Floats fma(float a, Floats b, Floats c) {
    return fma(all(a), b, c);
}

inline float fma(float a, float b, float c) {
    return __builtin_fmaf(a, b, c);
}

inline Floats sqrt(Floats x) {
#if defined __AVX512F__
    return _mm512_sqrt_ps(x);
#elif defined __AVX2__
    return _mm256_sqrt_ps(x);
#else
    return vsqrtq_f32(x);
#endif
}

/** The larger one; NaN where one of both is. */
inline Floats larger(Floats a, Floats b) {
    return (b > a) | (b != b) ? b : a;
}

inline Floats magnitude(Floats x) {
    return reinterpret_cast<Floats>(reinterpret_cast<Ints>(x) & 0x7fffffff);
}

/** e^x as VectorMath.exp: for x up to 88; below -87 e^-87, and NaN stays. */
inline Floats exp(Floats x) {
    x = x < -87.0f ? all(-87.0f) : x;
    Floats rounded = fma(1.44269504f, x, all(12582912.0f));
    Floats k = rounded - 12582912.0f;
    Floats f = fma(-0.693359375f, k, x);
    f = fma(2.12194440e-4f, k, f);
    Floats p = fma(1.9875691500e-4f, f, all(1.3981999507e-3f));
    p = fma(p, f, all(8.3334519073e-3f));
    p = fma(p, f, all(4.1665795894e-2f));
    p = fma(p, f, all(1.6666665459e-1f));
    p = fma(p, f, all(5.0000001201e-1f));
    p = fma(p * f, f, f) + 1.0f;
    return reinterpret_cast<Floats>(reinterpret_cast<Ints>(p) + (reinterpret_cast<Ints>(rounded) << 23));
}

#if defined __AVX2__  // else Four is Floats
inline Four larger(Four a, Four b) {
    return (b > a) | (b != b) ? b : a;
}
#endif

/** The largest element, or NaN where there is one. */
inline float largest(Floats x) {
    Four quads[W / 4];
    memcpy(quads, &x, sizeof x);
    Four most = quads[0];
    for (int i = 1; i < W / 4; i++) {
        most = larger(most, quads[i]);
    }
    most = larger(most, Four{most[2], most[3], most[0], most[1]});
    return larger(most, Four{most[1], most[0], most[3], most[2]})[0];
}

/** The largest of n floats, or NaN where there is one. */
inline float largest(const float* x, int n) {
    Floats most = all(-__builtin_inff());
    int i = 0;
    for (; i + W <= n; i += W) {
        most = larger(most, floats(x + i));
    }
    if (i < n) {
        most = larger(most, first(n - i) ? some(x + i, n - i) : most);
    }
    return largest(most);
}

constexpr int LANES = 16;
constexpr int PARTS = LANES / W;

/**
 * Sixteen sums side by side: element i goes to sum i % 16, whatever a vector's width, and at the end they are added up by
 * halves. As VectorMath.sum and dot.
 */
struct Sum {
    Floats parts[PARTS] = {};

    float total() const {
        Four quarters[4];
        memcpy(quarters, parts, sizeof quarters);
        Four sum = quarters[0] + quarters[2] + (quarters[1] + quarters[3]);
        return sum[0] + sum[2] + (sum[1] + sum[3]);
    }
};

/** Calls each(i, n, part) for all vectors of a row: n of its elements from i on belong to the part of a Sum. */
template <typename Each>
inline void vectors(int count, Each each) {
    int i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (int part = 0; part < PARTS; part++) {
            each(i + W * part, W, part);
        }
    }
    for (int part = 0; i < count; i += W, part++) {
        each(i, count - i < W ? count - i : W, part);
    }
}

/** x[i..i+n): n is known to be W in all but the last turns of a loop. */
inline Floats load(const float* x, int n) {
    return n == W ? floats(x) : some(x, n);
}

inline void store(float* y, Floats x, int n) {
    if (n == W) {
        floats(y) = x;
    } else {
        store_some(y, x, n);
    }
}

inline float dot(const float* x, const float* y, int n) {
    Sum sum;
    vectors(n, [&](int i, int count, int part) {
        sum.parts[part] = fma(load(x + i, count), load(y + i, count), sum.parts[part]);
    });
    return sum.total();
}

/** Four columns of W rows: y[k][i] = row(i)[k]. */
template <typename Row>
inline void transpose_four(Row row, Floats* y) {
    Floats quads[4];  // of each: row 4 l + r in the lane l of 128 bits
    for (int r = 0; r < 4; r++) {
#if defined __AVX512F__
        __m512 quad = _mm512_castps128_ps512(four(row(r)));
        quad = _mm512_insertf32x4(quad, four(row(4 + r)), 1);
        quad = _mm512_insertf32x4(quad, four(row(8 + r)), 2);
        quads[r] = _mm512_insertf32x4(quad, four(row(12 + r)), 3);
#elif defined __AVX2__
        quads[r] = _mm256_insertf128_ps(_mm256_castps128_ps256(four(row(r))), four(row(4 + r)), 1);
#else
        quads[r] = four(row(r));
#endif
    }
#if defined __AVX512F__
    __m512 a = _mm512_unpacklo_ps(quads[0], quads[1]), b = _mm512_unpackhi_ps(quads[0], quads[1]);
    __m512 c = _mm512_unpacklo_ps(quads[2], quads[3]), d = _mm512_unpackhi_ps(quads[2], quads[3]);
    y[0] = _mm512_shuffle_ps(a, c, 0x44);
    y[1] = _mm512_shuffle_ps(a, c, 0xee);
    y[2] = _mm512_shuffle_ps(b, d, 0x44);
    y[3] = _mm512_shuffle_ps(b, d, 0xee);
#elif defined __AVX2__
    __m256 a = _mm256_unpacklo_ps(quads[0], quads[1]), b = _mm256_unpackhi_ps(quads[0], quads[1]);
    __m256 c = _mm256_unpacklo_ps(quads[2], quads[3]), d = _mm256_unpackhi_ps(quads[2], quads[3]);
    y[0] = _mm256_shuffle_ps(a, c, 0x44);
    y[1] = _mm256_shuffle_ps(a, c, 0xee);
    y[2] = _mm256_shuffle_ps(b, d, 0x44);
    y[3] = _mm256_shuffle_ps(b, d, 0xee);
#else
    memcpy(y, quads, sizeof quads);
    transpose(y);
#endif
}

}  // namespace
