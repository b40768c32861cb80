// vpmaddubsw multiplies 32 unsigned bytes (codes) with signed ones and adds them up by twos. Over a unit of a tile the sums
// stay in 16 bits: 8 (two bits) or 16 (one bit) of at most 2 * 2 * 127 or 2 * 127, which is 4064. Then they go to 32.
#include "ternary_kernel.h"

#include <immintrin.h>

#include <utility>

namespace ternary {
namespace {

constexpr int MOST_ROWS = 4;  // whose sums of 16 bits, two registers a row, leave some of the 16 for the rest

/** 32 bytes of a tile hold its rows g, g + 1 (s = 0) and g + 8, g + 9 (s = 1), of each 16 columns for each v and h. */
template <int BITS, int ROWS>
void multiply(const Product& p, int tile, int row) {
    const __m256i mask = _mm256_set1_epi8((1 << BITS) - 1);
    const __m256i ones = _mm256_set1_epi16(1);
    int32_t sums[ROWS][TILE_ROWS];
    for (int g = 0; g < 8; g += 2) {
        __m256i acc[ROWS][2];
#pragma GCC unroll 4
        for (int r = 0; r < ROWS; r++) {
            for (int s = 0; s < 2; s++) {
                acc[r][s] = _mm256_setzero_si256();
            }
        }
        const uint8_t* w = p.codes + int64_t(tile) * TILE_ROWS * p.stride * BITS / 8 + 16 * g;
        const int8_t* x = p.x + int64_t(row) * p.stride;
        for (const int8_t* end = x + p.stride; x < end; x += 256 / BITS) {
            __m256i unit[ROWS][2];
#pragma GCC unroll 4
            for (int r = 0; r < ROWS; r++) {
                for (int s = 0; s < 2; s++) {
                    unit[r][s] = _mm256_setzero_si256();
                }
            }
            for (int t = 0; t < 4; t++, w += 128) {
                __m256i packed = _mm256_loadu_si256((const __m256i*) w);
#pragma GCC unroll 4
                for (int vh = 0; vh < 4 / BITS; vh++) {  // 2 v + h
                    __m256i codes[2];
                    for (int s = 0; s < 2; s++) {
                        codes[s] = _mm256_and_si256(_mm256_srli_epi16(packed, BITS * (2 * vh + s)), mask);
                    }
                    const int8_t* columns = x + 128 * (vh / 2) + 32 * t + 16 * (vh % 2);
#pragma GCC unroll 4
                    for (int r = 0; r < ROWS; r++) {
                        __m128i sixteen = _mm_loadu_si128((const __m128i*) (columns + int64_t(r) * p.stride));
                        __m256i values = _mm256_broadcastsi128_si256(sixteen);
                        for (int s = 0; s < 2; s++) {
                            unit[r][s] = _mm256_add_epi16(unit[r][s], _mm256_maddubs_epi16(codes[s], values));
                        }
                    }
                }
            }
#pragma GCC unroll 4
            for (int r = 0; r < ROWS; r++) {
                for (int s = 0; s < 2; s++) {
                    acc[r][s] = _mm256_add_epi32(acc[r][s], _mm256_madd_epi16(unit[r][s], ones));
                }
            }
        }
#pragma GCC unroll 4
        for (int r = 0; r < ROWS; r++) {
            for (int s = 0; s < 2; s++) {
                __m256i sum = acc[r][s];  // over j still to be added up
                sum = _mm256_hadd_epi32(sum, sum);
                sum = _mm256_hadd_epi32(sum, sum);
                sums[r][8 * s + g] = _mm256_extract_epi32(sum, 0);
                sums[r][8 * s + g + 1] = _mm256_extract_epi32(sum, 4);
            }
        }
    }
    for (int r = 0; r < ROWS; r++) {
        finish(p, tile, row + r, sums[r]);
    }
}

template <int BITS, int... I>
void multiply_all(const Product& p, int from, int to, std::integer_sequence<int, I...>) {
    static constexpr Multiply kernels[] = {multiply<BITS, I + 1>...};
    multiply_rows(p, from, to, kernels, MOST_ROWS);
}

void multiply(const Product& p, int from, int to) {
    auto rows = std::make_integer_sequence<int, MOST_ROWS>();
    p.bits == 1 ? multiply_all<1>(p, from, to, rows) : multiply_all<2>(p, from, to, rows);
}

}  // namespace

const Kernels avx2 = {multiply, round_rows};

}  // namespace ternary
