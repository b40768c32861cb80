// Products of 8-bit rows and packed weights, and what rounds rows to 8 bits: Backend.packedLinear and quantizeInt8 define
// them. The layout of the weights is PackedMatrix's, by whose letters (g, s, v, t, h, j) the kernels call parts of an index.
#pragma once

#include <cstdint>
#include <cstring>

namespace ternary {

constexpr int TILE_ROWS = 16;

/** y = x w^T + bias, then ReLU if asked. x (rows, stride), w (out, stride), y (rows, out). */
struct Product {
    const int8_t* x;
    const float* x_scales;  // (rows)
    const int32_t* x_sums;  // (rows)
    const uint8_t* codes;
    const float* w_scales;  // (out)
    const float* bias;      // (out) or null
    float* y;
    int bits;
    int rows;
    int stride;
    int out;
    bool relu;
};

/** Rounds the rows of x (rows, columns) to values (rows, stride), scales (rows) and sums (rows). */
struct Rounding {
    const float* x;
    int8_t* values;
    float* scales;
    int32_t* sums;
    int rows;
    int columns;
    int stride;
};

/** What computes, of y, the columns that belong to the tiles from..to - 1, and what rounds, both with some instructions. */
struct Kernels {
    void (*multiply)(const Product& p, int from, int to);
    void (*round)(const Rounding& r);
};

extern const Kernels avx2;
extern const Kernels avx512;

// What follows is static, since each file is compiled for other instructions.

/** What multiplies as many rows of x as it is made for with one tile. */
using Multiply = void (*)(const Product& p, int tile, int row);

/** Multiplies all rows, in groups as equal as can be. @param kernels for 1 row, for 2 rows and so on up to most */
static inline void multiply_rows(const Product& p, int from, int to, const Multiply* kernels, int most) {
    for (int row = 0; row < p.rows;) {
        int left = p.rows - row;
        int groups = (left + most - 1) / most;
        int rows = (left + groups - 1) / groups;
        for (int tile = from; tile < to; tile++) {
            kernels[rows - 1](p, tile, row);
        }
        row += rows;
    }
}

/** From the sums of products of codes to y, for a row of x with a tile: to the last bit what JavaPackedKernels does. */
static inline void finish(const Product& p, int tile, int row, const int32_t* sums) {
    int n = tile * TILE_ROWS;
    int outs = p.out - n < TILE_ROWS ? p.out - n : TILE_ROWS;
    for (int i = 0; i < outs; i++) {
        int32_t product = (p.bits == 1 ? 2 * sums[i] : sums[i]) - p.x_sums[row];
        float value = float(product) * (p.w_scales[n + i] * p.x_scales[row]);
        if (p.bias) {
            value += p.bias[n + i];
        }
        p.y[int64_t(row) * p.out + n + i] = p.relu && value <= 0 ? 0 : value;  // NaN stays
    }
}

/** Loops that the compiler turns into vector code: to the last bit what JavaPackedKernels does. */
static inline void round_rows(const Rounding& r) {
    for (int row = 0; row < r.rows; row++) {
        const float* x = r.x + int64_t(row) * r.columns;
        int8_t* values = r.values + int64_t(row) * r.stride;
        float largest = 1e-5f;
        int32_t bits;
        memcpy(&bits, &largest, sizeof bits);
        for (int i = 0; i < r.columns; i++) {
            // magnitudes have the order of their bits, above which NaN is
            int32_t magnitude;
            memcpy(&magnitude, &x[i], sizeof magnitude);
            magnitude &= 0x7fffffff;
            bits = magnitude > bits ? magnitude : bits;
        }
        memcpy(&largest, &bits, sizeof bits);
        float scale = 127 / largest;
        int32_t sum = 0;
        for (int i = 0; i < r.columns; i++) {
            float rounded = x[i] * scale + 0x1.8p23f - 0x1.8p23f;  // ties to even
            int32_t value = rounded == rounded ? int32_t(rounded) : 0;
            values[i] = int8_t(value);
            sum += value;
        }
        memset(values + r.columns, 0, r.stride - r.columns);
        r.scales[row] = largest / 127;
        r.sums[row] = sum;
    }
}

}  // namespace ternary
