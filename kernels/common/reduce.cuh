// Sums and maxima over the threads that share a row: a warp for short rows, a block for long ones.
#pragma once
#include "kernel.cuh"

// Threads of a block, whether it works on one row or on a row for each of its warps.
constexpr int ROW_THREADS = 256;

// Combines over the THREADS (WARP, or all of the block) of a row, in an order that does not change. Every thread gets it.
template <int THREADS, typename T>
__device__ __forceinline__ T row_sum(T x) {
    x = warp_sum(x);
    if constexpr (THREADS > WARP) {
        SHARED(T, parts, [THREADS / WARP]);
        __syncthreads();  // all have read what the last call left
        if (threadIdx.x % WARP == 0) {
            parts[threadIdx.x / WARP] = x;
        }
        __syncthreads();
        x = 0;
        for (int i = 0; i < THREADS / WARP; i++) {
            x += parts[i];
        }
    }
    return x;
}

template <int THREADS, typename T>
__device__ __forceinline__ T row_max(T x) {
    x = warp_max(x);
    if constexpr (THREADS > WARP) {
        SHARED(T, parts, [THREADS / WARP]);
        __syncthreads();
        if (threadIdx.x % WARP == 0) {
            parts[threadIdx.x / WARP] = x;
        }
        __syncthreads();
        for (int i = 0; i < THREADS / WARP; i++) {
            x = max(x, parts[i]);
        }
    }
    return x;
}

// Sum over a block of ROW_THREADS in float64, in an order that does not change. Every thread gets it.
__device__ __forceinline__ double block_sum(double x) {
    SHARED(double, parts, [ROW_THREADS]);
    __syncthreads();  // the sum of the last call has been read
    parts[threadIdx.x] = x;
    for (int width = ROW_THREADS / 2; width > 0; width /= 2) {
        __syncthreads();
        if (threadIdx.x < width) {
            parts[threadIdx.x] += parts[threadIdx.x + width];
        }
    }
    __syncthreads();
    return parts[0];
}

// The row of this thread's group: blocks are (THREADS, ROW_THREADS / THREADS). Unsigned, since the last block may end beyond 2^31.
__device__ __forceinline__ unsigned row_index() {
    return blockIdx.x * blockDim.y + threadIdx.y;
}
