// Rows of a matrix product that lie further apart than they are long, so that each begins at a multiple of 16 bytes, as cuBLAS's fast
// kernels for bfloat16 want it; and back.
//
// Bound by memory: four bytes an element; back eight.
#include "common/pack.cuh"

// padded (rows, stride) = x (rows, c), and zeros behind each row. stride is a multiple of PACK, and padded of 16 bytes.
KERNEL(256, pad_bf16, const __nv_bfloat16* x, __nv_bfloat16* padded, int rows, int c, int stride) {
    constexpr int N = PACK<__nv_bfloat16>;
    long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (i >= (long long)rows * stride) {
        return;
    }
    long long row = i / stride;
    int column = int(i % stride);
    float values[N];
    load(x + row * c + column, c - column, false, values);
    store(padded + i, N, true, values);
}

// y (rows, c) = the beginnings of the rows of padded (rows, stride), plus bias (c) or null.
KERNEL(256, add_bias_unpad_f32, const float* padded, const float* bias, float* y, int rows, int c, int stride) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (long long)rows * c) {
        return;
    }
    int column = int(i % c);
    y[i] = padded[i / c * stride + column] + (bias == nullptr ? 0.0f : bias[column]);
}
