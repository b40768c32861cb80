// Sums that gradients are made of: of tensors, and of the rows of a matrix.
//
// Bound by memory: every element is read once. The order of the additions depends on the sizes alone, so results repeat bit
// for bit.
#include "common/pack.cuh"

// sum = part, or sum += part. Each thread takes PACK elements.
KERNEL(256, add_f32, const float* part, float* sum, int n, int add) {
    int i = (blockIdx.x * blockDim.x + threadIdx.x) * PACK<float>;
    if (i >= n) {
        return;
    }
    bool wide = is_wide(part) && is_wide(sum);
    float values[PACK<float>];
    load(part + i, n - i, wide, values);
    if (add) {
        float before[PACK<float>];
        load(sum + i, n - i, wide, before);
#pragma unroll
        for (int k = 0; k < PACK<float>; k++) {
            values[k] += before[k];
        }
    }
    store(sum + i, n - i, wide, values);
}

// sums (gridDim.y, c): row g is the sum of rows g * each to (g + 1) * each - 1 of x, whose rows lie `stride` elements apart.
// Blocks of (WARP, 8): a warp reads WARP neighbouring columns of a row, eight rows at a time. With one row of sums, they are
// the column sums; with more, a second launch adds those up.
template <typename T>
__device__ void column_sums(const T* x, float* sums, int rows, int c, int stride, int each) {
    SHARED(float, parts, [8][WARP]);
    int column = blockIdx.x * WARP + threadIdx.x;
    int first = blockIdx.y * each;
    int last = first + each < rows ? first + each : rows;
    float sum = 0;
    if (column < c) {
        for (int r = first + int(threadIdx.y); r < last; r += blockDim.y) {
            sum += float(x[(long long)r * stride + column]);
        }
    }
    parts[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < c) {
        for (int i = 1; i < 8; i++) {
            sum += parts[i][threadIdx.x];
        }
        sums[(long long)blockIdx.y * c + column] = sum;
    }
}

#define COLUMN_SUMS(T, TYPE)                                                                                         \
    KERNEL(256, column_sums_##TYPE, const T* x, float* sums, int rows, int c, int stride, int each) {                \
        column_sums(x, sums, rows, c, stride, each);                                                                 \
    }

COLUMN_SUMS(float, f32)
COLUMN_SUMS(__nv_bfloat16, bf16)
