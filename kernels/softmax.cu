// Softmax of each row, whole or causal, and its gradient.
//
// Bound by memory: a row is read, and read again from the cache to write its probabilities. The gradient reads probabilities
// and their gradients, and writes once.
#include "common/online_softmax.cuh"

// How many elements of a row count: all, or in causal matrices (c, c) those up to the diagonal. The others become 0.
__device__ __forceinline__ int row_length(unsigned row, int c, int causal) {
    return causal ? row % c + 1 : c;
}

// x, y (rows, c); y may be x.
template <typename T, int THREADS>
__device__ void softmax(const T* x, T* y, int rows, int c, int causal) {
    unsigned row = row_index();
    if (row >= rows) {
        return;
    }
    long long start = (long long)row * c;
    bool wide = c % PACK<T> == 0 && is_wide(x) && is_wide(y);
    int length = row_length(row, c, causal);
    Softmax softmax = row_softmax<T, THREADS>(x + start, length, wide);
    float inverse = 1.0f / softmax.denominator;
    for (int j = int(threadIdx.x) * PACK<T>; j < c; j += THREADS * PACK<T>) {
        float values[PACK<T>];
        load(x + start + j, c - j, wide, values);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            values[k] = j + k < length ? Softmax::weight(values[k], softmax.max) * inverse : 0.0f;
        }
        store(y + start + j, c - j, wide, values);
    }
}

#define SOFTMAX(T, TYPE)                                                                                             \
    KERNEL(ROW_THREADS, softmax_warp_##TYPE, const T* x, T* y, int rows, int c, int causal) {                        \
        softmax<T, WARP>(x, y, rows, c, causal);                                                                     \
    }                                                                                                                \
    KERNEL(ROW_THREADS, softmax_block_##TYPE, const T* x, T* y, int rows, int c, int causal) {                       \
        softmax<T, ROW_THREADS>(x, y, rows, c, causal);                                                              \
    }

SOFTMAX(float, f32)
SOFTMAX(__nv_bfloat16, bf16)

// dx = y * (dy - sum(y * dy)), all (rows, c); dx may be dy.
template <typename T, int THREADS>
__device__ void softmax_grad(const T* y, const T* dy, T* dx, int rows, int c, int causal) {
    unsigned row = row_index();
    if (row >= rows) {
        return;
    }
    long long start = (long long)row * c;
    bool wide = c % PACK<T> == 0 && is_wide(y) && is_wide(dy) && is_wide(dx);
    int length = row_length(row, c, causal);
    float product = 0;
    for (int j = int(threadIdx.x) * PACK<T>; j < length; j += THREADS * PACK<T>) {
        float outputs[PACK<T>];
        float grads[PACK<T>];
        load(y + start + j, length - j, wide, outputs);
        load(dy + start + j, length - j, wide, grads);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            product += outputs[k] * grads[k];
        }
    }
    product = row_sum<THREADS>(product);
    for (int j = int(threadIdx.x) * PACK<T>; j < c; j += THREADS * PACK<T>) {
        float outputs[PACK<T>];
        float grads[PACK<T>];
        load(y + start + j, c - j, wide, outputs);
        load(dy + start + j, c - j, wide, grads);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            grads[k] = j + k < length ? outputs[k] * (grads[k] - product) : 0.0f;
        }
        store(dx + start + j, c - j, wide, grads);
    }
}

#define SOFTMAX_GRAD(T, TYPE)                                                                                        \
    KERNEL(ROW_THREADS, softmax_grad_warp_##TYPE, const T* y, const T* dy, T* dx, int rows, int c, int causal) {     \
        softmax_grad<T, WARP>(y, dy, dx, rows, c, causal);                                                           \
    }                                                                                                                \
    KERNEL(ROW_THREADS, softmax_grad_block_##TYPE, const T* y, const T* dy, T* dx, int rows, int c, int causal) {    \
        softmax_grad<T, ROW_THREADS>(y, dy, dx, rows, c, causal);                                                    \
    }

SOFTMAX_GRAD(float, f32)
SOFTMAX_GRAD(__nv_bfloat16, bf16)
