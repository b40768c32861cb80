// What the kernels of all instructions share: static, since each file is compiled for others.
#pragma once

#include "ternary.h"

#include <cstring>

namespace ternary {

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

typedef float Floats __attribute__((vector_size(4 * TILE_ROWS)));
typedef int32_t Ints __attribute__((vector_size(4 * TILE_ROWS)));

/** Copies the first n numbers of a vector: in one instruction or two where these are all. */
static inline void copy(void* to, const void* from, int n) {
    n == TILE_ROWS ? memcpy(to, from, 4 * TILE_ROWS) : memcpy(to, from, 4 * n);
}

/** From the sums of products of codes to y, for a row of x with a tile: to the last bit what JavaPackedKernels does. */
[[gnu::noinline]] static void finish(const Product& p, int tile, int row, const int32_t* sums) {
    int first = tile * TILE_ROWS;
    int n = p.out - first < TILE_ROWS ? p.out - first : TILE_ROWS;
    Ints products;
    memcpy(&products, sums, sizeof products);
    products = (p.bits == 1 ? products + products : products) - p.x_sums[row];
    Floats scales = {}, bias = {};
    copy(&scales, p.w_scales + first, n);
    Floats value = __builtin_convertvector(products, Floats) * (scales * p.x_scales[row]);
    if (p.bias) {
        copy(&bias, p.bias + first, n);
        value += bias;
    }
    if (p.relu) {
        value = value <= 0 ? Floats{} : value;  // NaN stays
    }
    copy(p.y + int64_t(row) * p.out + first, &value, n);
}

/** The bits of a magnitude: they have the order of the numbers, above which NaN is. */
static inline int32_t magnitude(float x) {
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7fffffff;
}

/** Loops that the compiler turns into vector code: to the last bit what JavaPackedKernels does. */
static inline void round_row(const float* x, int columns, int8_t* values, float* row_scale, int32_t* row_sum) {
    int32_t bits = magnitude(1e-5f);
    for (int i = 0; i < columns; i++) {
        bits = magnitude(x[i]) > bits ? magnitude(x[i]) : bits;
    }
    float largest;
    memcpy(&largest, &bits, sizeof largest);
    float scale = 127 / largest;
    int32_t sum = 0;
    for (int i = 0; i < columns; i++) {
        float rounded = x[i] * scale + 0x1.8p23f - 0x1.8p23f;  // ties to even
        int32_t value = rounded == rounded ? int32_t(rounded) : 0;
        values[i] = int8_t(value);
        sum += value;
    }
    *row_scale = largest / 127;
    *row_sum = sum;
}

static inline void round_rows(const Rounding& r) {
    for (int row = 0; row < r.rows; row++) {
        int8_t* values = r.values + int64_t(row) * r.stride;
        round_row(r.x + int64_t(row) * r.columns, r.columns, values, &r.scales[row], &r.sums[row]);
        memset(values + r.columns, 0, r.stride - r.columns);
    }
}

}  // namespace ternary
