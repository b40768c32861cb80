// sum = x + dropout(branch).
//
// Bound by memory: 2 n elements read and n written.
#include "common/pack.cuh"
#include "common/philox.cuh"

// Each thread takes PACK elements. sum may be x.
template <typename T>
__device__ void residual(const T* x, const T* branch, T* sum, int n, long long first, const Dropout& dropout) {
    int i = (blockIdx.x * blockDim.x + threadIdx.x) * PACK<T>;
    if (i >= n) {
        return;
    }
    bool wide = is_wide(x) && is_wide(branch) && is_wide(sum);
    float a[PACK<T>];
    float b[PACK<T>];
    load(x + i, n - i, wide, a);
    load(branch + i, n - i, wide, b);
    if (dropout.active()) {
        apply(dropout, first + i, b);
    }
#pragma unroll
    for (int k = 0; k < PACK<T>; k++) {
        a[k] += b[k];
    }
    store(sum + i, n - i, wide, a);
}

#define RESIDUAL(T, TYPE)                                                                                              \
    KERNEL(256, residual_##TYPE, const T* x, const T* branch, T* sum, int n, long long first, unsigned long long seed, \
           int purpose, const int* step, int threshold, float scale) {                                                 \
        residual(x, branch, sum, n, first, make_dropout(seed, purpose, step, threshold, scale));                       \
    }

RESIDUAL(float, f32)
RESIDUAL(__nv_bfloat16, bf16)
