// vpdpbusd multiplies 64 unsigned bytes (codes) with signed ones and adds them up by fours into 16 sums of 32 bits.
#include "ternary_kernel.h"

#include <immintrin.h>

#include <utility>

namespace ternary {
namespace {

constexpr int MOST_ROWS = 12;   // whose sums of half a tile, two registers a row, leave some of the 32 for the rest
constexpr int WHOLE_TILES = 4;  // up to so many rows there are registers for the sums of a whole tile
constexpr int AHEAD = 8192;     // bytes: further than the hardware prefetches by itself

/**
 * 64 bytes of a tile hold its rows g..g + 3 (s = 0) and g + 8..g + 11 (s = 1), of each 16 columns for each v and h; so
 * each half of the tile, g = 0 and g = 4, is every other 64 bytes.
 */
template <int BITS, int ROWS>
void multiply(const Product& p, int tile, int row) {
    constexpr int HALVES = ROWS <= WHOLE_TILES ? 2 : 1;
    const __m512i mask = _mm512_set1_epi8((1 << BITS) - 1);
    int32_t sums[ROWS][TILE_ROWS];
    for (int first = 0; first < 2; first += HALVES) {
        __m512i acc[ROWS][HALVES][2];
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; r++) {
            for (int half = 0; half < HALVES; half++) {
                for (int s = 0; s < 2; s++) {
                    acc[r][half][s] = _mm512_setzero_si512();
                }
            }
        }
        const uint8_t* w = p.codes + int64_t(tile) * TILE_ROWS * p.stride * BITS / 8 + 64 * first;
        const int8_t* x = p.x + int64_t(row) * p.stride;
        for (const int8_t* end = x + p.stride; x < end; x += 256 / BITS) {
            for (int t = 0; t < 4; t++, w += 128) {
                __m512i packed[HALVES];
                for (int half = 0; half < HALVES; half++) {
                    packed[half] = _mm512_loadu_si512(w + 64 * half);
                    _mm_prefetch(w + 64 * half + AHEAD, _MM_HINT_T1);
                }
#pragma GCC unroll 4
                for (int vh = 0; vh < 4 / BITS; vh++) {  // 2 v + h
                    __m512i codes[HALVES][2];
                    for (int half = 0; half < HALVES; half++) {
                        for (int s = 0; s < 2; s++) {
                            __m512i shifted = _mm512_srli_epi16(packed[half], BITS * (2 * vh + s));
                            codes[half][s] = _mm512_and_si512(shifted, mask);
                        }
                    }
                    const int8_t* columns = x + 128 * (vh / 2) + 32 * t + 16 * (vh % 2);
#pragma GCC unroll 12
                    for (int r = 0; r < ROWS; r++) {
                        __m128i sixteen = _mm_loadu_si128((const __m128i*) (columns + int64_t(r) * p.stride));
                        __m512i values = _mm512_broadcast_i32x4(sixteen);
                        for (int half = 0; half < HALVES; half++) {
                            for (int s = 0; s < 2; s++) {
                                acc[r][half][s] = _mm512_dpbusd_epi32(acc[r][half][s], codes[half][s], values);
                            }
                        }
                    }
                }
            }
        }
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; r++) {
            for (int half = 0; half < HALVES; half++) {
                for (int s = 0; s < 2; s++) {
                    __m512i sum = acc[r][half][s];  // over j still to be added up
                    sum = _mm512_add_epi32(sum, _mm512_shuffle_epi32(sum, _MM_PERM_BADC));
                    sum = _mm512_add_epi32(sum, _mm512_shuffle_epi32(sum, _MM_PERM_CDAB));
                    __m128i four = _mm512_castsi512_si128(_mm512_maskz_compress_epi32(0x1111, sum));
                    _mm_storeu_si128((__m128i*) &sums[r][8 * s + 4 * (first + half)], four);
                }
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

float peak(int turns) {
    constexpr int CHAINS = 12;
    __m512i sums[CHAINS], codes = _mm512_set1_epi8(2), values = _mm512_set1_epi8(-127);
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) {
        sums[i] = _mm512_setzero_si512();
    }
    for (int turn = 0; turn < turns; turn++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            sums[i] = _mm512_dpbusd_epi32(sums[i], codes, values);
            asm volatile("" : "+v"(sums[i]));  // or GCC sees that all sums are the same
        }
    }
    return 128.0f * CHAINS * turns;
}

}  // namespace

const Kernels avx512 = {multiply, round_rows, peak};

}  // namespace ternary
