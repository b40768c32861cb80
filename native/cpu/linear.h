// Linear layers: Operations' linear, linearGrad and reluGrad, as JavaLinear computes them.
#pragma once

#include "call.h"
#include "matmul_bf16.h"

namespace {

/** sums (c) = the rows of x (rows, c), added up from the first to the last. */
inline void column_sums(const float* x, int rows, int c, float* sums) {
    int j = 0;
    for (; j + 4 * W <= c; j += 4 * W) {  // side by side, since each addition waits for the one before
        Floats s[4] = {};
        for (int r = 0; r < rows; r++) {
            for (int v = 0; v < 4; v++) {
                s[v] += floats(x + int64_t(r) * c + j + W * v);
            }
        }
        for (int v = 0; v < 4; v++) {
            floats(sums + j + W * v) = s[v];
        }
    }
    for (; j < c; j += W) {
        int n = std::min(W, c - j);
        Floats s = {};
        for (int r = 0; r < rows; r++) {
            s += load(x + int64_t(r) * c + j, n);
        }
        store(sums + j, s, n);
    }
}

/** y = x w^T + bias, then ReLU. x (rows, in), w (out, in), y (rows, out). */
template <typename Products>
inline void linear(Call& call, Products multiply) {
    const float* x = call.floats();
    const float* w = call.floats();
    const float* bias = call.floats();  // (out) or null
    float* y = call.floats();
    int rows = call.number();
    int in = call.number();
    int out = call.number();
    bool relu = call.number();
    multiply({rows, out, in, {x, in, 1}, {w, 1, in}, y, out, bias ? Begin::BIAS : Begin::ZERO, bias, relu});
}

void linear(Call call) {
    linear(call, matmul);
}

/** The same of factors that are rounded to bfloat16. */
template <auto matmul>
void linear_bf16(Call call) {
    float* scratch = call.floats();
    linear(call, [=](const Matmul& p) { matmul(p, scratch); });
}

/** dw = dy^T x, dbias = the sum of dy's rows, dx = dy w. */
template <typename Products>
inline void linear_grad(Call& call, Products multiply) {
    const float* x = call.floats();
    const float* w = call.floats();
    const float* dy = call.floats();
    float* dw = call.floats();
    float* dbias = call.floats();  // or null
    float* dx = call.floats();     // or null
    int rows = call.number();
    int in = call.number();
    int out = call.number();
    multiply({out, in, rows, {dy, 1, out}, {x, in, 1}, dw, in, Begin::ZERO, nullptr, false});
    if (dbias) {
        column_sums(dy, rows, out, dbias);
    }
    if (dx) {
        multiply({rows, in, out, {dy, out, 1}, {w, in, 1}, dx, in, Begin::ZERO, nullptr, false});
    }
}

void linear_grad(Call call) {
    linear_grad(call, matmul);
}

/** The same of factors that are rounded to bfloat16. */
template <auto matmul>
void linear_grad_bf16(Call call) {
    float* scratch = call.floats();
    linear_grad(call, [=](const Matmul& p) { matmul(p, scratch); });
}

/** dy = dy where y > 0, else 0; dbias = the sum of its rows. y, dy (rows, c). */
void relu_grad(Call call) {
    const float* y = call.floats();
    float* dy = call.floats();
    float* dbias = call.floats();  // or null
    int rows = call.number();
    int c = call.number();
    int n = rows * c;
    for (int i = 0; i < n; i += W) {
        int count = std::min(W, n - i);
        store(dy + i, load(y + i, count) <= 0 ? Floats{} : load(dy + i, count), count);  // dy where y is NaN
    }
    if (dbias) {
        column_sums(dy, rows, c, dbias);
    }
}

}  // namespace
