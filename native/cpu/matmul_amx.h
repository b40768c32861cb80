// matmul_bf16's products with AMX's tiles.
#pragma once

#include "matmul_bf16.h"
#include "tiles.h"

#pragma GCC push_options
#pragma GCC target("avx512bf16,amx-tile,amx-bf16")

namespace {

constexpr int SQUARE = 2 * TILE;  // rows and columns of c that are computed together: four tiles
constexpr int TILE_ELEMENTS = TILE * BLOCK_STEPS;        // bfloat16 of a tile
constexpr int TILES_DEPTH = 512;                         // k of the packed tiles of b, which stay in the first cache
constexpr int TILES_HEIGHT = 2 * SCRATCH / TILES_DEPTH;  // rows of a whose tiles fill the scratch memory

/** Rows of 16 integers change places with columns: those whose numbers differ in the bit D, then in the smaller ones. */
template <int D>
inline void transpose(Ints* rows) {
    if constexpr (D > 0) {
        Ints low, high;
        for (int i = 0; i < TILE; i++) {
            low[i] = i & D ? i - D + TILE : i;
            high[i] = i & D ? i + TILE : i + D;
        }
#pragma GCC unroll 16
        for (int i = 0; i < TILE; i++) {
            if (!(i & D)) {
                Ints a = rows[i], b = rows[i + D];
                rows[i] = __builtin_shuffle(a, b, low);
                rows[i + D] = __builtin_shuffle(a, b, high);
            }
        }
        transpose<D / 2>(rows);
    }
}

/** 32 floats rounded to bfloat16. */
inline Ints bf16_bits(Floats first, Floats second) {
    return reinterpret_cast<Ints>(_mm512_cvtne2ps_pbh(second, first));
}

/** Steps k and k + 1 of 16 units side by side, from the first 16 and the last 16 elements. */
inline Ints interleave(Ints halves) {
    alignas(64) static constexpr uint16_t places[] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return reinterpret_cast<Ints>(
        _mm512_permutexvar_epi16(_mm512_load_si512(places), reinterpret_cast<__m512i>(halves)));
}

/**
 * Packs steps of units, which are rows of a or columns of b, into tiles: of 16 units the tiles of all steps, then of the next 16.
 * With zeros behind the last unit and step. Element (u, k) is at from[u * unit + k * step].
 *
 * @param left whether a tile has a row for each unit, as those of a have; else one for each pair of steps
 */
inline void pack_tiles(const float* from, int64_t unit, int64_t step, bool left, int units, int steps, uint16_t* tiles) {
    auto clamp = [](int n) { return std::max(0, std::min(TILE, n)); };
    for (int u = 0; u < units; u += TILE) {
        for (int k = 0; k < steps; k += BLOCK_STEPS, tiles += TILE_ELEMENTS) {
            Ints rows[TILE];
            for (int i = 0; i < TILE; i++) {
                if (step == 1) {  // row i is a unit
                    const float* x = from + (u + i) * unit + k;
                    bool there = u + i < units;
                    rows[i] = bf16_bits(load(x, there ? clamp(steps - k) : 0), load(x + TILE, there ? clamp(steps - k - TILE) : 0));
                } else {  // row i is a pair of steps
                    int first = k + 2 * i;
                    const float* x = from + first * step + u;
                    int n = clamp(units - u);
                    rows[i] = interleave(bf16_bits(load(x, first < steps ? n : 0), load(x + step, first + 1 < steps ? n : 0)));
                }
            }
            if (left != (step == 1)) {
                transpose<TILE / 2>(rows);
            }
            memcpy(tiles, rows, sizeof rows);
        }
    }
}

/** HIGH times WIDE tiles of c, each 1 or 2. @param depth elements from the tiles of some units to those of the next 16 */
template <int HIGH, int WIDE>
inline void tiles_of_c(const uint16_t* a, const uint16_t* b, int depth, float* c, int64_t c_row, Begin begin, const float* bias) {
    constexpr int ROW = BLOCK_STEPS * sizeof(uint16_t);
    int64_t stride = c_row * sizeof(float);
    written_for_tiles();
    // tiles 0 to 3 are c's, 4 and 5 a's, 6 and 7 b's
    if (begin == Begin::ZERO) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        const float* from = begin == Begin::BIAS ? bias : c;
        int64_t row = begin == Begin::BIAS ? 0 : stride;
        const float* below = begin == Begin::BIAS ? bias : c + TILE * c_row;
        _tile_loadd(0, from, row);
        if constexpr (WIDE == 2) {
            _tile_loadd(1, from + TILE, row);
        }
        if constexpr (HIGH == 2) {
            _tile_loadd(2, below, row);
        }
        if constexpr (HIGH == 2 && WIDE == 2) {
            _tile_loadd(3, below + TILE, row);
        }
    }
    for (int at = 0; at < depth; at += TILE_ELEMENTS) {
        _tile_loadd(4, a + at, ROW);
        _tile_loadd(6, b + at, ROW);
        _tile_dpbf16ps(0, 4, 6);
        if constexpr (WIDE == 2) {
            _tile_loadd(7, b + depth + at, ROW);
            _tile_dpbf16ps(1, 4, 7);
        }
        if constexpr (HIGH == 2) {
            _tile_loadd(5, a + depth + at, ROW);
            _tile_dpbf16ps(2, 5, 6);
        }
        if constexpr (HIGH == 2 && WIDE == 2) {
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, c, stride);
    if constexpr (WIDE == 2) {
        _tile_stored(1, c + TILE, stride);
    }
    if constexpr (HIGH == 2) {
        _tile_stored(2, c + TILE * c_row, stride);
    }
    if constexpr (HIGH == 2 && WIDE == 2) {
        _tile_stored(3, c + TILE * c_row + TILE, stride);
    }
}

/** m rows and n columns of c, each at most SQUARE. */
inline void square_of_c(const uint16_t* a, const uint16_t* b, int depth, int m, int n, float* c, int64_t c_row, Begin begin,
                        const float* bias, bool with_relu) {
    bool high = m > TILE, wide = n > TILE;
    bool whole = m == (high ? SQUARE : TILE) && n == (wide ? SQUARE : TILE);
    float edge[SQUARE * SQUARE];
    float edge_bias[SQUARE];
    float* to = whole ? c : edge;
    int64_t to_row = whole ? c_row : SQUARE;
    if (!whole && begin == Begin::BIAS) {
        memcpy(edge_bias, bias, sizeof(float) * n);
        bias = edge_bias;
    }
    for (int i = 0; i < m && !whole && begin == Begin::RESULT; i++) {
        memcpy(edge + i * SQUARE, c + i * c_row, sizeof(float) * n);
    }
    auto tiles = high ? (wide ? tiles_of_c<2, 2> : tiles_of_c<2, 1>) : (wide ? tiles_of_c<1, 2> : tiles_of_c<1, 1>);
    tiles(a, b, depth, to, to_row, begin, bias);
    for (int i = 0; i < m && (!whole || with_relu); i++) {
        for (int j = 0; j < n; j += W) {
            int count = std::min(W, n - j);
            Floats x = load(to + i * to_row + j, count);
            store(c + i * c_row + j, with_relu ? relu(x) : x, count);
        }
    }
}

/** @param scratch of SCRATCH floats */
inline void matmul_amx(const Matmul& p, float* scratch) {
    if (has_few_rows(p)) {
        matmul_bf16(p, scratch);
        return;
    }
    auto* a = reinterpret_cast<uint16_t*>(scratch);
    alignas(64) uint16_t b[TILES_DEPTH * SQUARE];
    TileState state;
    for (int i = 0; i < p.m; i += TILES_HEIGHT) {
        int m = std::min(TILES_HEIGHT, p.m - i);
        for (int from = 0; from < p.k; from += TILES_DEPTH) {
            int k = std::min(TILES_DEPTH, p.k - from);
            int depth = (k + BLOCK_STEPS - 1) / BLOCK_STEPS * TILE_ELEMENTS;
            Begin begin = from == 0 ? p.begin : Begin::RESULT;
            bool with_relu = p.relu && from + k == p.k;
            pack_tiles(p.a.from + i * p.a.row + from * p.a.column, p.a.row, p.a.column, true, m, k, a);
            for (int j = 0; j < p.n; j += SQUARE) {
                int n = std::min(SQUARE, p.n - j);
                pack_tiles(p.b.from + from * p.b.row + j * p.b.column, p.b.column, p.b.row, false, n, k, b);
                const float* bias = p.begin == Begin::BIAS ? p.bias + j : nullptr;
                for (int r = 0; r < m; r += SQUARE) {
                    square_of_c(a + r / TILE * depth, b, depth, std::min(SQUARE, m - r), n, p.c + (i + r) * p.c_row + j, p.c_row,
                                begin, bias, with_relu);
                }
            }
        }
    }
}

/** As peak_fp32, for products of bfloat16. */
inline void peak_bf16(Call call) {
    float* operations = call.floats();
    int turns = call.number();
    TileState state;
    for (int turn = 0; turn < turns; turn++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    *operations = 4 * 2.0f * TILE * TILE_ELEMENTS * turns;
}

}  // namespace

#pragma GCC pop_options
