// Sums that gradients are made of: of tensors, and of the rows of a matrix.
//
// Bound by memory: every element is read once. The order of the additions depends on the sizes alone, so results repeat bit
// for bit.
#include "common/column_sums.cuh"

// sum = part, or sum += part. Each thread takes PACK elements.
KERNEL(256, add_f32, const float* part, float* sum, int n, int add) {
    long long i = pack_index<float>();
    if (i >= n) {
        return;
    }
    int left = int(n - i);
    bool wide = is_wide(part) && is_wide(sum);
    float values[PACK<float>];
    load(part + i, left, wide, values);
    if (add) {
        float before[PACK<float>];
        load(sum + i, left, wide, before);
#pragma unroll
        for (int k = 0; k < PACK<float>; k++) {
            values[k] += before[k];
        }
    }
    store(sum + i, left, wide, values);
}

// sums (gridDim.y, c): of `each` rows of x, which lie `stride` elements apart.
template <typename T>
__device__ void column_sums(const T* x, float* sums, int rows, int c, int stride, int each) {
    bool wide = stride % PACK<T> == 0 && is_wide(x);
    add_rows<T>(sums, rows, c, each, [=](int row, int j, float (&values)[PACK<T>]) {
        load(x + (long long)row * stride + j, c - j, wide, values);
    });
}

#define COLUMN_SUMS(T, TYPE)                                                                                         \
    KERNEL(256, column_sums_##TYPE, const T* x, float* sums, int rows, int c, int stride, int each) {                \
        column_sums(x, sums, rows, c, stride, each);                                                                 \
    }

COLUMN_SUMS(float, f32)
COLUMN_SUMS(__nv_bfloat16, bf16)
