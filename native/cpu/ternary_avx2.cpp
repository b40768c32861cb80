// vpmaddubsw multiplies 32 unsigned bytes (codes) with signed ones and adds them up by twos. Over SPAN units of a tile the sums
// stay in 16 bits: 64 (two bits) of at most 2 * 2 * 127, or 128 (one bit) of at most 2 * 127, which is 32512. Then they go to 32.
#include "ternary_kernel.h"

#include <immintrin.h>

#include <algorithm>
#include <utility>

namespace ternary {
namespace {

constexpr int MOST_ROWS = 5;  // whose sums of 16 bits, two registers a row, leave some of the 16 for the rest
constexpr int SPAN = 8;
constexpr int AHEAD = 4096;  // bytes: as much as a span has, and further than the hardware prefetches by itself

/** 32 bytes of a tile hold its rows g, g + 1 (s = 0) and g + 8, g + 9 (s = 1), of each 16 columns for each v and h. */
template <int BITS, int ROWS>
void multiply(const Product& p, int tile, int row) {
    constexpr int UNIT = 256 / BITS;
    constexpr int PAIRS = ROWS == 1 ? 4 : ROWS == 2 ? 2 : 1;  // of g, g + 1: as many as there are registers for
    const __m256i mask = _mm256_set1_epi8((1 << BITS) - 1);
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sums[ROWS][2][4] = {};  // (row, s, pair): of 32 bits, for both g and each j
    const uint8_t* codes = p.codes + int64_t(tile) * TILE_ROWS * p.stride * BITS / 8;
    const uint8_t* next = codes + AHEAD;
    for (int from = 0; from < p.stride; from += SPAN * UNIT) {
        int to = std::min(from + SPAN * UNIT, p.stride);
        for (int first = 0; first < 4; first += PAIRS) {
            __m256i span[ROWS][PAIRS][2];
#pragma GCC unroll 5
            for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 4
                for (int pair = 0; pair < PAIRS; pair++) {
                    for (int s = 0; s < 2; s++) {
                        span[r][pair][s] = _mm256_setzero_si256();
                    }
                }
            }
            const uint8_t* w = codes + from * TILE_ROWS * BITS / 8 + 32 * first;
            const int8_t* x = p.x + int64_t(row) * p.stride + from;
            for (int unit = from; unit < to; unit += UNIT, x += UNIT) {
                for (int t = 0; t < 4; t++, w += 128) {
#pragma GCC unroll 4
                    for (int pair = 0; pair < PAIRS; pair++, next += 32) {
                        _mm_prefetch(next, _MM_HINT_T0);
                        __m256i packed = _mm256_loadu_si256((const __m256i*) (w + 32 * pair));
#pragma GCC unroll 4
                        for (int vh = 0; vh < 4 / BITS; vh++) {  // 2 v + h
                            __m256i unpacked[2];
                            for (int s = 0; s < 2; s++) {
                                unpacked[s] = _mm256_and_si256(_mm256_srli_epi16(packed, BITS * (2 * vh + s)), mask);
                            }
                            const int8_t* columns = x + 128 * (vh / 2) + 32 * t + 16 * (vh % 2);
#pragma GCC unroll 5
                            for (int r = 0; r < ROWS; r++) {
                                __m128i sixteen = _mm_loadu_si128((const __m128i*) (columns + int64_t(r) * p.stride));
                                __m256i values = _mm256_broadcastsi128_si256(sixteen);
                                for (int s = 0; s < 2; s++) {
                                    __m256i& sum = span[r][pair][s];
                                    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(unpacked[s], values));
                                    asm("" : "+x"(sum));  // or GCC adds up products first, and spills registers for that
                                }
                            }
                        }
                    }
                }
            }
#pragma GCC unroll 5
            for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 4
                for (int pair = 0; pair < PAIRS; pair++) {
                    for (int s = 0; s < 2; s++) {
                        __m256i& sum = sums[r][s][first + pair];
                        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(span[r][pair][s], ones));
                    }
                }
            }
        }
    }
    for (int r = 0; r < ROWS; r++) {
        alignas(32) int32_t total[TILE_ROWS];
        for (int s = 0; s < 2; s++) {
            const __m256i(&of)[4] = sums[r][s];
            __m256i even_odd = _mm256_hadd_epi32(_mm256_hadd_epi32(of[0], of[1]), _mm256_hadd_epi32(of[2], of[3]));
            __m256i in_order = _mm256_permutevar8x32_epi32(even_odd, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
            _mm256_store_si256((__m256i*) &total[8 * s], in_order);
        }
        finish(p, tile, row + r, total);
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

float peak(int turns) {
    constexpr int CHAINS = 12;
    __m256i sums[CHAINS], codes = _mm256_set1_epi8(2), values = _mm256_set1_epi8(-127);
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) {
        sums[i] = _mm256_setzero_si256();
    }
    for (int turn = 0; turn < turns; turn++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            asm("" : "+x"(codes));  // or GCC sees that all products are the same
            sums[i] = _mm256_add_epi16(sums[i], _mm256_maddubs_epi16(codes, values));
            asm volatile("" : "+x"(sums[i]));
        }
    }
    return 64.0f * CHAINS * turns;
}

}  // namespace

const Kernels avx2 = {multiply, round_rows, peak};

}  // namespace ternary
