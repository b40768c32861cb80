// The softmax of rows, alone and within the loss: Operations' softmax, softmaxGrad and crossEntropy, as JavaSoftmax
// computes them.
#pragma once

#include "call.h"
#include "vector.h"

#include <algorithm>

namespace {

/** y[j] = e^(x[j] - max), for j < n. Returns their sum. */
inline float exponentials(const float* x, float max, int n, float* y) {
    Sum sum;
    vectors(n, [&](int j, int count, int part) {
        Floats e = exp(load(x + j, count) - max);
        store(y + j, e, count);
        sum.parts[part] += count == W ? e : first(count) ? e : Floats{};
    });
    return sum.total();
}

inline void multiply(float* x, float factor, int n) {
    for (int j = 0; j < n; j += W) {
        int count = std::min(W, n - j);
        store(x + j, load(x + j, count) * factor, count);
    }
}

/** The softmax of rows (rows, c); causal: of the first r % c + 1 elements of row r, zero behind them. */
void softmax(Call call) {
    const float* x = call.floats();
    float* y = call.floats();
    int rows = call.number();
    int c = call.number();
    bool causal = call.number();
    for (int r = 0; r < rows; r++, x += c, y += c) {
        int n = causal ? r % c + 1 : c;
        multiply(y, 1 / exponentials(x, largest(x, n), n, y), n);
        memset(y + n, 0, sizeof(float) * (c - n));
    }
}

void softmax_grad(Call call) {
    const float* y = call.floats();
    const float* dy = call.floats();
    float* dx = call.floats();
    int rows = call.number();
    int c = call.number();
    bool causal = call.number();
    for (int r = 0; r < rows; r++, y += c, dy += c, dx += c) {
        int n = causal ? r % c + 1 : c;
        float sum = dot(y, dy, n);
        for (int j = 0; j < n; j += W) {
            int count = std::min(W, n - j);
            store(dx + j, load(y + j, count) * (load(dy + j, count) - sum), count);
        }
        memset(dx + n, 0, sizeof(float) * (c - n));
    }
}

/** Of each row of logits (rows, c): maximum, denominator; dlogits = its softmax times a scale, if wanted. */
void cross_entropy(Call call) {
    const float* logits = call.floats();
    float* stats = call.floats();    // (rows, 2)
    float* dlogits = call.floats();  // (rows, c), or null
    float* memory = call.floats();   // (c)
    int rows = call.number();
    int c = call.number();
    float scale = call.real();
    for (int r = 0; r < rows; r++, logits += c) {
        float* e = dlogits ? dlogits + int64_t(r) * c : memory;
        float max = largest(logits, c);
        float denominator = exponentials(logits, max, c, e);
        stats[2 * r] = max;
        stats[2 * r + 1] = denominator;
        if (dlogits) {
            multiply(e, scale / denominator, c);
        }
    }
}

}  // namespace
