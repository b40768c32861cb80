// The maximum of a row and the sum of exp(x - maximum), found in one pass (Milakov and Gimelshein, "Online normalizer
// calculation for softmax", 2018).
#pragma once
#include "pack.cuh"
#include "reduce.cuh"

struct Softmax {
    float max;
    float denominator;  // NaN if the row has a NaN or an infinity, or if all of it is minus infinity

    __device__ void add(float x) {
        float larger = fmaxf(max, x);
        // while everything is minus infinity, nothing has been added
        denominator = (larger == -INFINITY ? denominator : denominator * expf(max - larger)) + weight(x, larger);
        max = larger;
    }

    // -log p(target), in nats, of logits (v); not a number where the target is no token.
    __device__ float loss(const float* logits, int target, int v) const {
        float logit = unsigned(target) < unsigned(v) ? logits[target] : NAN;
        return logf(denominator) - (logit - max);
    }

    // The gradient of `scale` times the loss with respect to a logit; factor is scale / denominator.
    __device__ float loss_grad(float logit, bool is_target, float factor, float scale) const {
        return weight(logit, max) * factor - (is_target ? scale : 0.0f);
    }

    // exp(x - max), and NaN for NaN even where max passed over it.
    __device__ static float weight(float x, float max) {
        return x == -INFINITY ? 0.0f : expf(x - max);
    }
};

// Over the first `length` elements of a row, of which every THREADS-th pack is this thread's.
template <typename T, int THREADS>
__device__ __forceinline__ Softmax row_softmax(const T* row, int length, bool wide) {
    Softmax softmax = {-INFINITY, 0};
    for (int j = int(threadIdx.x) * PACK<T>; j < length; j += THREADS * PACK<T>) {
        float values[PACK<T>];
        load(row + j, length - j, wide, values);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            if (j + k < length) {
                softmax.add(values[k]);
            }
        }
    }
    float max = row_max<THREADS>(softmax.max);
    float part = max == -INFINITY ? softmax.denominator : softmax.denominator * Softmax::weight(softmax.max, max);
    float denominator = row_sum<THREADS>(part);
    return {max, denominator == 0 ? NAN : denominator};
}
