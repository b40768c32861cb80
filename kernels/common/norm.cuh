// What layer norm and RMS norm have in common.
#pragma once
#include "pack.cuh"
#include "reduce.cuh"

// Defines a kernel for each type and length of rows: up to 512 elements in the registers of a warp, 2,048 in those of a block,
// longer ones in its shared memory.
#define FOR_EACH_NORM(DEFINE)                          \
    DEFINE(float, warp_f32, WARP, 16)                  \
    DEFINE(float, block_f32, ROW_THREADS, 8)           \
    DEFINE(float, long_f32, ROW_THREADS, 0)            \
    DEFINE(__nv_bfloat16, warp_bf16, WARP, 16)         \
    DEFINE(__nv_bfloat16, block_bf16, ROW_THREADS, 8)  \
    DEFINE(__nv_bfloat16, long_bf16, ROW_THREADS, 0)

// The same for kernels that there are for float32 only.
#define FOR_EACH_FLOAT_NORM(DEFINE)          \
    DEFINE(float, warp_f32, WARP, 16)        \
    DEFINE(float, block_f32, ROW_THREADS, 8) \
    DEFINE(float, long_f32, ROW_THREADS, 0)

constexpr float LAYER_NORM_EPS = 1e-5f;

// N values for each of the c columns of a row, between the passes of a norm over it. A thread has every THREADS-th pack: what
// passes say of it is work(p, j, values), the thread's p-th pack, from column j on. In registers: ELEMENTS a thread.
template <typename T, int THREADS, int ELEMENTS, int N>
struct Row {
    float values[ELEMENTS / PACK<T>][N][PACK<T>];

    // The first pass, which leaves values behind.
    template <typename Work>
    __device__ __forceinline__ void fill(int c, Work work) {
#pragma unroll
        for (int p = 0; p < ELEMENTS / PACK<T>; p++) {
            int j = (p * THREADS + int(threadIdx.x)) * PACK<T>;
            if (j < c) {
                work(p, j, values[p]);
            }
        }
    }

    // Any other, which may change them.
    template <typename Work>
    __device__ __forceinline__ void each(int c, Work work) {
        fill(c, work);
    }
};

// In the N * c floats, c rounded up to packs of either type, that the launch gives a block: only their own thread uses them.
template <typename T, int THREADS, int N>
struct Row<T, THREADS, 0, N> {
    float* row;

    __device__ __forceinline__ Row() {
        DYNAMIC_SHARED(float, memory);
        row = memory;
    }

    template <typename Work>
    __device__ __forceinline__ void fill(int c, Work work) {
        pass<true>(c, work);
    }

    template <typename Work>
    __device__ __forceinline__ void each(int c, Work work) {
        pass<false>(c, work);
    }

private:
    template <bool FIRST, typename Work>
    __device__ __forceinline__ void pass(int c, Work work) {
#pragma unroll 1
        for (int p = 0, j = int(threadIdx.x) * PACK<T>; j < c; p++, j += THREADS * PACK<T>) {
            float values[N][PACK<T>];
            float* own = row + N * j;
            if constexpr (!FIRST) {
#pragma unroll
                for (int n = 0; n < N; n++) {
                    load_floats<T>(own + n * PACK<T>, PACK<T>, true, values[n]);
                }
            }
            work(p, j, values);
#pragma unroll
            for (int n = 0; n < N; n++) {
                store_floats<T>(own + n * PACK<T>, PACK<T>, true, values[n]);
            }
        }
    }
};

// What a block adds up for the columns of its rows, with the packs of a Row, into target (c), which belongs to the block: a
// thread in registers, then the threads of a column one after another, so that the order does not change.
template <typename T, int THREADS, int ELEMENTS>
struct ColumnSums {
    float* target;
    int c;
    float sums[ELEMENTS / PACK<T>][PACK<T>];

    __device__ __forceinline__ ColumnSums(float* target, int c) : target(target), c(c), sums{} {}

    __device__ __forceinline__ void add(int p, int, const float (&values)[PACK<T>]) {
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            sums[p][k] += values[k];
        }
    }

    // All threads of the block must call it.
    __device__ __forceinline__ void end() {
#pragma unroll 1
        for (int group = 0; group < ROW_THREADS / THREADS; group++) {
            if (group > 0) {
                __syncthreads();
            }
            if (threadIdx.y == group) {
#pragma unroll
                for (int p = 0; p < ELEMENTS / PACK<T>; p++) {
#pragma unroll
                    for (int k = 0; k < PACK<T>; k++) {
                        int j = (p * THREADS + int(threadIdx.x)) * PACK<T> + k;
                        if (j < c) {
                            target[j] = sums[p][k] + (group > 0 ? target[j] : 0.0f);
                        }
                    }
                }
            }
        }
    }
};

// Of long rows: in memory from the first row on.
template <typename T, int THREADS>
struct ColumnSums<T, THREADS, 0> {
    float* target;
    int c;
    bool wide;

    __device__ __forceinline__ ColumnSums(float* target, int c) : target(target), c(c), wide(is_wide(target)) {
        float zeros[PACK<T>] = {};
        if (target != nullptr) {
#pragma unroll 1
            for (int j = int(threadIdx.x) * PACK<T>; j < c; j += THREADS * PACK<T>) {
                store_floats<T>(target + j, c - j, wide, zeros);
            }
        }
    }

    __device__ __forceinline__ void add(int, int j, const float (&values)[PACK<T>]) {
        float sums[PACK<T>];
        load_floats<T>(target + j, c - j, wide, sums);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            sums[k] += values[k];
        }
        store_floats<T>(target + j, c - j, wide, sums);
    }

    __device__ __forceinline__ void end() {}
};
