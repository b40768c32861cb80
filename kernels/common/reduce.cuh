// Sums and maxima over the threads that share a row: a warp for short rows, a block for long ones.
#pragma once
#include "kernel.cuh"

// Threads of a block, whether it works on one row or on a row for each of its warps.
constexpr int ROW_THREADS = 256;

// Combines over the THREADS (WARP, or all of the block) of a row, in an order that does not change. Every thread gets it. Before a kernel
// calls the same function again, `again` has to have been called.
template <int THREADS, typename T>
__device__ __forceinline__ T row_sum(T x) {
    x = warp_sum(x);
    if constexpr (THREADS > WARP) {
        SHARED(T, parts, [THREADS / WARP]);
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

// All threads of a row have read what they were given last, and may combine anew.
template <int THREADS>
__device__ __forceinline__ void again() {
    if constexpr (THREADS > WARP) {
        __syncthreads();
    }
}

// Sum over a block of ROW_THREADS in float64, in an order that does not change. Thread 0 gets it. Calls need a barrier between them.
__device__ __forceinline__ double block_sum(double x) {
    SHARED(double, parts, [ROW_THREADS]);
    parts[threadIdx.x] = x;
    for (int width = ROW_THREADS / 2; width > 0; width /= 2) {
        __syncthreads();
        if (threadIdx.x < width) {
            x += parts[threadIdx.x + width];
            parts[threadIdx.x] = x;
        }
    }
    return x;
}

// The row of this thread's group: blocks are (THREADS, ROW_THREADS / THREADS). Unsigned, since the last block may end beyond 2^31.
__device__ __forceinline__ unsigned row_index() {
    return blockIdx.x * blockDim.y + threadIdx.y;
}
