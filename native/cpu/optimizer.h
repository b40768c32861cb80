// Flat buffers of all parameters: Operations' sum, gradNorm and adamW, as JavaOptimizer computes them.
#pragma once

#include "call.h"
#include "vector.h"

#include <algorithm>

namespace {

constexpr int MOST_PARTS = 7;  // of a sum in one call, as NativeOptimizer's

/** sums (n) = (sums +) the parts, in their order. */
void sum(Call call) {
    float* sums = call.floats();
    const float* parts[MOST_PARTS];
    for (auto& part : parts) {
        part = call.floats();
    }
    int n = call.number();
    int count = call.number();
    bool add = call.number();
    for (int i = 0; i < n; i += W) {
        int width = std::min(W, n - i);
        Floats s = add ? load(sums + i, width) : load(parts[0] + i, width);
        for (int p = add ? 0 : 1; p < count; p++) {
            s += load(parts[p] + i, width);
        }
        store(sums + i, s, width);
    }
}

/** Of each block of x (n): the sum of its squares. */
void squares(Call call) {
    const float* x = call.floats();
    float* sums = call.floats();
    int n = call.number();
    int block = call.number();
    for (int i = 0; i < n; i += block) {
        *sums++ = dot(x + i, x + i, std::min(block, n - i));
    }
}

void adamw(Call call) {
    float* params = call.floats();
    const float* grads = call.floats();
    float* first_moments = call.floats();
    float* second_moments = call.floats();
    int n = call.number();
    float grad_scale = call.real();
    float beta1 = call.real();
    float beta2 = call.real();
    float step_size = call.real();
    float root_scale = call.real();
    float eps = call.real();
    float decay = call.real();
    float tiny = call.real();
    for (int i = 0; i < n; i += W) {
        int count = std::min(W, n - i);
        Floats g = load(grads + i, count) * grad_scale;
        Floats m = fma(beta1, load(first_moments + i, count), (1 - beta1) * g) + tiny - tiny;
        Floats v = fma(beta2, load(second_moments + i, count), (1 - beta2) * g * g) + tiny - tiny;
        Floats step = step_size * m / fma(sqrt(v), all(root_scale), all(eps));
        store(params + i, fma(load(params + i, count), all(decay), -step), count);
        store(first_moments + i, m, count);
        store(second_moments + i, v, count);
    }
}

}  // namespace
