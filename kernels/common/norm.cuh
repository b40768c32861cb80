// What layer norm and RMS norm have in common.
#pragma once
#include "pack.cuh"
#include "reduce.cuh"

// Packs of a row that a thread keeps in registers.
template <typename T, int ELEMENTS>
constexpr int PACKS = ELEMENTS / PACK<T>;

// Defines a kernel for each type and length of rows: up to 512 elements for a warp, 8,192 for a block.
#define FOR_EACH_NORM(DEFINE)                              \
    DEFINE(float, warp_f32, WARP, 16)                      \
    DEFINE(float, block_f32, ROW_THREADS, 32)              \
    DEFINE(__nv_bfloat16, warp_bf16, WARP, 16)             \
    DEFINE(__nv_bfloat16, block_bf16, ROW_THREADS, 32)

// The same for kernels that there are for float32 only.
#define FOR_EACH_FLOAT_NORM(DEFINE)        \
    DEFINE(float, warp_f32, WARP, 16)      \
    DEFINE(float, block_f32, ROW_THREADS, 32)

constexpr float LAYER_NORM_EPS = 1e-5f;

// Adds up what each of a block's rows of threads (a warp, or the whole block) has summed for the columns of its rows: one
// after another, so that the order does not change. target (c) belongs to the block.
template <typename T, int THREADS, int N>
__device__ __forceinline__ void add_column_sums(const float (&sums)[N][PACK<T>], float* target, int c) {
    for (int group = 0; group < blockDim.y; group++) {
        if (threadIdx.y == group) {
#pragma unroll
            for (int p = 0; p < N; p++) {
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
