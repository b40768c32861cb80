// tdpbsud multiplies tiles of signed bytes (16 rows of x, 64 columns) with tiles of unsigned ones (codes of 64 columns, 16 rows of
// weights), and adds the products up by fours into 16 x 16 sums of 32 bits.
#include "ternary_kernel.h"
#include "tiles.h"

#include <algorithm>

namespace ternary {
namespace {

constexpr int FEWEST_ROWS = 8;           // AVX-512 multiplies fewer faster: unpacking codes takes as long as multiplying then
constexpr int TILE_COLUMNS = 64;
constexpr int TILE_CODES = TILE * TILE_COLUMNS;
constexpr int DEPTH = 512;               // columns whose unpacked codes, of two tiles of weights, stay in the first level cache
constexpr int SQUARE = 2 * TILE;         // rows of x and of weights that are multiplied together: four tiles of sums
constexpr int MOST_SQUARES = 8;          // of rows of x, whose sums stay in the second level cache between two DEPTHs
constexpr int AHEAD = 8192;              // bytes: further than the hardware prefetches by itself

/** The codes of a tile of weights, for some columns: a byte each, in AMX's order (64 columns, 4 of them, row, column of the 4). */
template <int BITS>
void unpack(const uint8_t* packed, int columns, uint8_t* codes) {
    const __m512i mask = _mm512_set1_epi8((1 << BITS) - 1);
    const __m512i s = _mm512_mask_set1_epi32(_mm512_setzero_si512(), 0xff00, BITS << 16 | BITS);  // of rows 8 to 15
    const __m512i g = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    for (int unit = 0; unit < columns; unit += 256 / BITS, codes += 256 / BITS * TILE) {
        for (int t = 0; t < 4; t++, packed += 128) {
            __m512i low = _mm512_loadu_si512(packed);  // of g below 4
            __m512i high = _mm512_loadu_si512(packed + 64);
            _mm_prefetch(packed + AHEAD, _MM_HINT_T1);
            _mm_prefetch(packed + AHEAD + 64, _MM_HINT_T1);
            for (int j = 0; j < 4; j++) {
                __m512i four = _mm512_permutex2var_epi32(low, _mm512_add_epi32(g, _mm512_set1_epi32(j)), high);
                for (int vh = 0; vh < 4 / BITS; vh++) {  // 2 v + h
                    __m512i shift = _mm512_add_epi16(s, _mm512_set1_epi16(2 * BITS * vh));
                    int column = 128 * (vh / 2) + 32 * t + 16 * (vh % 2) + 4 * j;
                    _mm512_storeu_si512(codes + column * TILE, _mm512_and_si512(_mm512_srlv_epi16(four, shift), mask));
                }
            }
        }
    }
}

/**
 * HIGH times WIDE tiles of sums, each 1 or 2, over some columns.
 *
 * @param x the first tile's rows, and below the second's
 * @param codes the first tile's, and TILE * DEPTH behind them the second's
 * @param sums (SQUARE, SQUARE), which begin at 0 if these are the first columns
 */
template <int HIGH, int WIDE>
void tiles_of_sums(const int8_t* x, const int8_t* below, int stride, const uint8_t* codes, int columns, bool first, int32_t* sums) {
    constexpr int ROW = SQUARE * sizeof(int32_t);
    written_for_tiles();
    // tiles 0 to 3 are of sums, 4 and 5 of x, 6 and 7 of codes
    if (first) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, sums, ROW);
        _tile_loadd(1, sums + TILE, ROW);
        _tile_loadd(2, sums + TILE * SQUARE, ROW);
        _tile_loadd(3, sums + TILE * SQUARE + TILE, ROW);
    }
    for (int column = 0; column < columns; column += TILE_COLUMNS, codes += TILE_CODES) {
        _tile_loadd(4, x + column, stride);
        _tile_loadd(6, codes, TILE_COLUMNS);
        _tile_dpbsud(0, 4, 6);
        if constexpr (WIDE == 2) {
            _tile_loadd(7, codes + TILE * DEPTH, TILE_COLUMNS);
            _tile_dpbsud(1, 4, 7);
        }
        if constexpr (HIGH == 2) {
            _tile_loadd(5, below + column, stride);
            _tile_dpbsud(2, 5, 6);
        }
        if constexpr (HIGH == 2 && WIDE == 2) {
            _tile_dpbsud(3, 5, 7);
        }
    }
    _tile_stored(0, sums, ROW);
    _tile_stored(1, sums + TILE, ROW);
    _tile_stored(2, sums + TILE * SQUARE, ROW);
    _tile_stored(3, sums + TILE * SQUARE + TILE, ROW);
    written_for_tiles();
}

template <int BITS>
void multiply_tiles(const Product& p, int from, int to) {
    alignas(64) uint8_t codes[2][TILE * DEPTH];
    alignas(64) int32_t sums[MOST_SQUARES][SQUARE * SQUARE];
    int blocks = (p.rows + TILE - 1) / TILE;
    int height = (p.rows + blocks - 1) / blocks;  // of all blocks: the last begins within the one before, if they do not fit
    auto begin = [&](int block) { return std::min(block * height, p.rows - height); };
    TileState state(height);
    for (int some = 0; some < blocks; some += 2 * MOST_SQUARES) {
        int end = std::min(some + 2 * MOST_SQUARES, blocks);
        for (int tile = from; tile < to; tile += 2) {
            int wide = std::min(2, to - tile);
            for (int column = 0; column < p.stride; column += DEPTH) {
                int columns = std::min(DEPTH, p.stride - column);
                for (int i = 0; i < wide; i++) {
                    int64_t first = int64_t(tile + i) * p.stride + column;
                    unpack<BITS>(p.codes + first * TILE_ROWS * BITS / 8, columns, codes[i]);
                }
                for (int block = some; block < end; block += 2) {
                    int high = std::min(2, end - block);
                    auto multiply = high == 2 ? (wide == 2 ? tiles_of_sums<2, 2> : tiles_of_sums<2, 1>)
                                              : (wide == 2 ? tiles_of_sums<1, 2> : tiles_of_sums<1, 1>);
                    const int8_t* x = p.x + int64_t(begin(block)) * p.stride + column;
                    const int8_t* below = p.x + int64_t(begin(block + high - 1)) * p.stride + column;
                    int32_t* square = sums[(block - some) / 2];
                    multiply(x, below, p.stride, codes[0], columns, column == 0, square);
                    for (int k = 0; k < high * height && column + columns == p.stride; k++) {
                        int row = k / height, in = k % height;
                        for (int i = 0; i < wide; i++) {
                            finish(p, tile + i, begin(block + row) + in, square + (row * TILE + in) * SQUARE + i * TILE);
                        }
                    }
                }
            }
        }
    }
}

void multiply(const Product& p, int from, int to) {
    if (p.rows < FEWEST_ROWS) {
        avx512.multiply(p, from, to);
    } else {
        p.bits == 1 ? multiply_tiles<1>(p, from, to) : multiply_tiles<2>(p, from, to);
    }
}

float peak(int turns) {
    TileState state;
    for (int turn = 0; turn < turns; turn++) {
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
    }
    return 4 * 2.0f * TILE * TILE_CODES * turns;
}

}  // namespace

const Kernels amx = {multiply, round_rows, peak};

}  // namespace ternary
