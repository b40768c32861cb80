// What layer norm and RMS norm have in common.
#pragma once
#include "pack.cuh"
#include "reduce.cuh"

// Packs of a row that a thread keeps in registers: rows of up to 1,024 elements for a warp, 8,192 for a block.
template <typename T>
constexpr int PACKS = 32 / PACK<T>;

// Adds up what each of a block's rows of threads (a warp, or the whole block) has summed for the columns of its rows: one
// after another, so that the order does not change. target (c) belongs to the block.
template <typename T, int THREADS>
__device__ __forceinline__ void add_column_sums(const float (&sums)[PACKS<T>][PACK<T>], float* target, int c) {
    for (int group = 0; group < blockDim.y; group++) {
        if (threadIdx.y == group) {
#pragma unroll
            for (int p = 0; p < PACKS<T>; p++) {
#pragma unroll
                for (int k = 0; k < PACK<T>; k++) {
                    int j = (p * THREADS + int(threadIdx.x)) * PACK<T> + k;
                    if (j < c) {
                        target[j] = sums[p][k] + (group > 0 ? target[j] : 0.0f);
                    }
                }
            }
        }
        __syncthreads();
    }
}
