// Sums over the rows of a matrix, for gradients of what is added to each row.
#pragma once
#include "pack.cuh"

// sums (gridDim.y, c): row g is the sum of rows g * each to (g + 1) * each - 1 of a matrix (rows, c), whose PACK elements from
// column j of a row on map(row, j, values) computes; it may also store them. sums may be null. Blocks of (WARP, 8): a warp has WARP packs of a row,
// eight rows at a time. With one row of sums, they are the column sums; with more, a second launch adds those up.
template <typename T, typename Map>
__device__ __forceinline__ void add_rows(float* sums, int rows, int c, int each, Map map) {
    SHARED(float, parts, [8][WARP][PACK<T>]);
    int j = (blockIdx.x * WARP + threadIdx.x) * PACK<T>;
    unsigned first = blockIdx.y * each;
    unsigned last = min(first + each, unsigned(rows));
    float total[PACK<T>] = {};
    if (j < c) {
        for (unsigned r = first + threadIdx.y; r < last; r += blockDim.y) {
            float values[PACK<T>];
            map(r, j, values);
#pragma unroll
            for (int k = 0; k < PACK<T>; k++) {
                total[k] += values[k];
            }
        }
    }
    if (sums == nullptr) {
        return;
    }
#pragma unroll
    for (int k = 0; k < PACK<T>; k++) {
        parts[threadIdx.y][threadIdx.x][k] = total[k];
    }
    __syncthreads();
    if (threadIdx.y == 0 && j < c) {
        for (int i = 1; i < 8; i++) {
#pragma unroll
            for (int k = 0; k < PACK<T>; k++) {
                total[k] += parts[i][threadIdx.x][k];
            }
        }
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            if (j + k < c) {
                sums[(long long)blockIdx.y * c + j + k] = total[k];
            }
        }
    }
}
