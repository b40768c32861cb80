// What follows a matrix product: y = y + bias, then ReLU if asked; and the gradients of both. All in place.
//
// Bound by memory: each element is read and written once (the gradient reads two and writes one).
#include "common/column_sums.cuh"

// NaN stays, -0 becomes 0.
__device__ __forceinline__ float relu(float x) {
    return x <= 0 ? 0.0f : x;
}

// y (rows, c), bias (c) or null. Each thread takes PACK elements.
template <typename T>
__device__ void bias_relu(T* y, const float* bias, int relus, int rows, int c) {
    long long n = (long long)rows * c;
    long long i = pack_index<T>();
    if (i >= n) {
        return;
    }
    int left = int(n - i < PACK<T> ? n - i : PACK<T>);
    bool wide = is_wide(y);
    float values[PACK<T>];
    load(y + i, left, wide, values);
    if (bias != nullptr) {
        int column = int(i % c);
        bool whole = column + PACK<T> <= c && column % PACK<T> == 0;
        float biases[PACK<T>];
        if (whole) {
            load_floats<T>(bias + column, PACK<T>, is_wide(bias), biases);
        } else {
#pragma unroll
            for (int k = 0; k < PACK<T>; k++) {
                biases[k] = bias[(column + k) % c];
            }
        }
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            values[k] += biases[k];
        }
    }
    if (relus) {
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            values[k] = relu(values[k]);
        }
    }
    store(y + i, left, wide, values);
}

#define BIAS_RELU(T, TYPE)                                                                                           \
    KERNEL(256, bias_relu_##TYPE, T* y, const float* bias, int relus, int rows, int c) {                             \
        bias_relu(y, bias, relus, rows, c);                                                                          \
    }

BIAS_RELU(float, f32)
BIAS_RELU(__nv_bfloat16, bf16)

// dy (rows, c) = 0 where y was not positive; sums (gridDim.y, c): of `each` rows of it.
template <typename T>
__device__ void relu_grad(const T* y, T* dy, float* sums, int rows, int c, int each) {
    bool wide = c % PACK<T> == 0 && is_wide(y) && is_wide(dy);
    add_rows<T>(sums, rows, c, each, [=](int row, int j, float (&grads)[PACK<T>]) {
        long long i = (long long)row * c + j;
        float outputs[PACK<T>];
        load(y + i, c - j, wide, outputs);
        load(dy + i, c - j, wide, grads);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            grads[k] = outputs[k] > 0 ? grads[k] : 0.0f;
        }
        store(dy + i, c - j, wide, grads);
    });
}

#define RELU_GRAD(T, TYPE)                                                                                           \
    KERNEL(256, relu_grad_##TYPE, const T* y, T* dy, float* sums, int rows, int c, int each) {                       \
        relu_grad(y, dy, sums, rows, c, each);                                                                       \
    }

RELU_GRAD(float, f32)
RELU_GRAD(__nv_bfloat16, bf16)
