// Norms and residual sums: Operations' layerNorm, rmsNorm, residual and their gradients, as JavaNorms computes them.
#pragma once

#include "call.h"
#include "linear.h"

#include <cmath>

namespace {

/** out = (x - mean) / deviation * weight + bias, by rows. x, out (rows, c), weight, bias (c), stats (rows, 2). */
void layer_norm(Call call) {
    const float* x = call.floats();
    const float* weight = call.floats();
    const float* bias = call.floats();
    float* out = call.floats();
    float* stats = call.floats();  // mean, 1 / deviation
    int rows = call.number();
    int c = call.number();
    float eps = call.real();
    for (int r = 0; r < rows; r++, x += c, out += c) {
        Sum sum;
        vectors(c, [&](int j, int n, int part) { sum.parts[part] += load(x + j, n); });
        float mean = sum.total() / c;
        Sum squares;
        vectors(c, [&](int j, int n, int part) {
            Floats centred = load(x + j, n) - mean;
            centred = n == W ? centred : first(n) ? centred : Floats{};
            squares.parts[part] = fma(centred, centred, squares.parts[part]);
        });
        float rstd = 1 / std::sqrt(squares.total() / c + eps);
        for (int j = 0; j < c; j += W) {
            int n = std::min(W, c - j);
            store(out + j, fma((load(x + j, n) - mean) * rstd, load(weight + j, n), load(bias + j, n)), n);
        }
        stats[2 * r] = mean;
        stats[2 * r + 1] = rstd;
    }
}

/** Adds to dx what its rows owe to those of dout; dweight and dbias are sums over rows. */
void layer_norm_grad(Call call) {
    const float* x = call.floats();
    const float* weight = call.floats();
    const float* stats = call.floats();
    const float* dout = call.floats();
    float* dx = call.floats();
    float* dweight = call.floats();
    float* dbias = call.floats();
    int rows = call.number();
    int c = call.number();
    memset(dweight, 0, sizeof(float) * c);
    memset(dbias, 0, sizeof(float) * c);
    for (int r = 0; r < rows; r++, x += c, dout += c, dx += c) {
        float mean = stats[2 * r];
        float rstd = stats[2 * r + 1];
        Sum sum;
        Sum inner;
        vectors(c, [&](int j, int n, int part) {
            Floats normed = (load(x + j, n) - mean) * rstd;
            Floats grad = load(dout + j, n);
            Floats scaled = load(weight + j, n) * grad;  // 0 where a row has no element
            sum.parts[part] += scaled;
            inner.parts[part] = fma(scaled, normed, inner.parts[part]);
            store(dweight + j, fma(grad, normed, load(dweight + j, n)), n);
            store(dbias + j, load(dbias + j, n) + grad, n);
        });
        float a = sum.total() / c;
        float b = inner.total() / c;
        for (int j = 0; j < c; j += W) {
            int n = std::min(W, c - j);
            Floats normed = (load(x + j, n) - mean) * rstd;
            Floats scaled = load(weight + j, n) * load(dout + j, n);
            store(dx + j, fma(rstd, fma(-normed, all(b), scaled - a), load(dx + j, n)), n);
        }
    }
}

/** out = x / the root of x's mean square * weight, by rows. x, out (rows, c), weight (c), stats (rows). */
void rms_norm(Call call) {
    const float* x = call.floats();
    const float* weight = call.floats();
    float* out = call.floats();
    float* stats = call.floats();  // 1 / root
    int rows = call.number();
    int c = call.number();
    float eps = call.real();
    for (int r = 0; r < rows; r++, x += c, out += c) {
        float scale = 1 / std::sqrt(dot(x, x, c) / c + eps);
        stats[r] = scale;
        for (int j = 0; j < c; j += W) {
            int n = std::min(W, c - j);
            store(out + j, load(x + j, n) * scale * load(weight + j, n), n);
        }
    }
}

/** Adds to dx what its rows owe to those of dout; dweight is a sum over rows. */
void rms_norm_grad(Call call) {
    const float* x = call.floats();
    const float* weight = call.floats();
    const float* stats = call.floats();
    const float* dout = call.floats();
    float* dx = call.floats();
    float* dweight = call.floats();
    int rows = call.number();
    int c = call.number();
    memset(dweight, 0, sizeof(float) * c);
    for (int r = 0; r < rows; r++, x += c, dout += c, dx += c) {
        float scale = stats[r];
        Sum inner;
        vectors(c, [&](int j, int n, int part) {
            Floats normed = load(x + j, n) * scale;
            Floats grad = load(dout + j, n);
            inner.parts[part] = fma(grad * load(weight + j, n), normed, inner.parts[part]);
            store(dweight + j, fma(grad, normed, load(dweight + j, n)), n);
        });
        float b = inner.total() / c;
        for (int j = 0; j < c; j += W) {
            int n = std::min(W, c - j);
            Floats scaled = load(dout + j, n) * load(weight + j, n);
            store(dx + j, fma(scale, fma(-(load(x + j, n) * scale), all(b), scaled), load(dx + j, n)), n);
        }
    }
}

/** sum = x + mask * (branch + bias), all (rows, c) but the bias (c). */
void residual(Call call) {
    const float* x = call.floats();
    const float* branch = call.floats();
    const float* bias = call.floats();  // or null
    const float* mask = call.floats();  // or null
    float* sum = call.floats();
    int rows = call.number();
    int c = call.number();
    for (int r = 0; r < rows; r++) {
        int64_t at = int64_t(r) * c;
        for (int j = 0; j < c; j += W) {
            int n = std::min(W, c - j);
            Floats y = load(branch + at + j, n);
            if (bias) {
                y += load(bias + j, n);
            }
            Floats to = load(x + at + j, n);
            store(sum + at + j, mask ? fma(load(mask + at + j, n), y, to) : to + y, n);
        }
    }
}

/** dbranch = mask * dsum; dbias = the sum of its rows. */
void residual_grad(Call call) {
    const float* dsum = call.floats();
    const float* mask = call.floats();  // or null
    float* dbranch = call.floats();
    float* dbias = call.floats();  // or null
    int rows = call.number();
    int c = call.number();
    if (mask) {
        for (int i = 0; i < rows * c; i += W) {
            int n = std::min(W, rows * c - i);
            store(dbranch + i, load(mask + i, n) * load(dsum + i, n), n);
        }
    } else {
        memmove(dbranch, dsum, sizeof(float) * rows * c);
    }
    if (dbias) {
        column_sums(dbranch, rows, c, dbias);
    }
}

}  // namespace
