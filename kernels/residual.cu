// sum = x + dropout(branch + bias), and the gradients of it.
//
// Bound by memory: 2 n elements read and n written; the gradient reads n and writes n. A mask is drawn again where it is needed
// and never stored.
#include "common/column_sums.cuh"
#include "common/philox.cuh"

// x, branch, sum (rows, c); bias (c) or null; sum may be x. A thread takes PACK elements of a row.
template <typename T>
__device__ void residual(const T* x, const T* branch, const float* bias, T* sum, int rows, int c, long long first_row,
                         const Dropout& dropout) {
    int packs = (c + PACK<T> - 1) / PACK<T>;
    unsigned index = blockIdx.x * blockDim.x + threadIdx.x;
    int row = int(index / packs);
    int j = int(index % packs) * PACK<T>;
    if (row >= rows) {
        return;
    }
    long long i = (long long)row * c + j;
    bool wide = c % PACK<T> == 0 && is_wide(x) && is_wide(branch) && is_wide(sum);
    float a[PACK<T>];
    float b[PACK<T>];
    load(x + i, c - j, wide, a);
    load_branch(branch + i, bias, j, c - j, wide, b);
    if (dropout.active()) {
        apply(dropout, (first_row + row) * c + j, b);
    }
#pragma unroll
    for (int k = 0; k < PACK<T>; k++) {
        a[k] = __fadd_rn(a[k], b[k]);  // as layer_norm.cu does, not fused with the factor of dropout
    }
    store(sum + i, c - j, wide, a);
}

#define RESIDUAL(T, TYPE)                                                                                            \
    KERNEL(256, residual_##TYPE, const T* x, const T* branch, const float* bias, T* sum, int rows, int c,            \
           long long first_row, unsigned long long seed, int purpose, const int* step, int threshold, float scale) { \
        residual(x, branch, bias, sum, rows, c, first_row, make_dropout(seed, purpose, step, threshold, scale));     \
    }

RESIDUAL(float, f32)
RESIDUAL(__nv_bfloat16, bf16)

// dbranch (rows, c) = dropout mask * dsum; sums (gridDim.y, c): of `each` rows of it.
template <typename T>
__device__ void residual_grad(const T* dsum, T* dbranch, float* sums, int rows, int c, int each, long long first_row,
                              const Dropout& dropout) {
    bool wide = c % PACK<T> == 0 && is_wide(dsum) && is_wide(dbranch);
    add_rows<T>(sums, rows, c, each, [=](int row, int j, float (&grads)[PACK<T>]) {
        long long i = (long long)row * c + j;
        load(dsum + i, c - j, wide, grads);
        if (dropout.active()) {
            apply(dropout, (first_row + row) * c + j, grads);
        }
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            grads[k] = as_stored<T>(grads[k]);
        }
        store(dbranch + i, c - j, wide, grads);
    });
}

#define RESIDUAL_GRAD(T, TYPE)                                                                                             \
    KERNEL(256, residual_grad_##TYPE, const T* dsum, T* dbranch, float* sums, int rows, int c, int each,                   \
           long long first_row, unsigned long long seed, int purpose, const int* step, int threshold, float scale) {       \
        residual_grad(dsum, dbranch, sums, rows, c, each, first_row, make_dropout(seed, purpose, step, threshold, scale)); \
    }

RESIDUAL_GRAD(float, f32)
RESIDUAL_GRAD(__nv_bfloat16, bf16)
