// Products of 8-bit rows and packed weights, and what rounds rows to 8 bits: Backend.packedLinear and quantizeInt8 define
// them. The layout of the weights is PackedMatrix's, by whose letters (g, s, v, t, h, j) the kernels call parts of an index.
#pragma once

#include <cstdint>

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

/** With some instructions: */
struct Kernels {
    void (*multiply)(const Product& p, int from, int to);  // computes, of y, the columns that belong to the tiles from..to - 1
    void (*round)(const Rounding& r);
    float (*peak)(int turns);  // does what multiply does most, and nothing else; returns how many multiplications and additions
};

extern const Kernels avx2;
extern const Kernels avx512;
extern const Kernels amx;

}  // namespace ternary
