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
    static constexpr int PACKED = PACK<T>;
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
    static constexpr int PACKED = PACK<T>;
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

// The same for short rows in shared memory: a lane of a warp has every 32nd column, up to COLUMNS of them.
template <int COLUMNS, int N>
struct LaneRow {
    static constexpr int PACKED = 1;
    float values[COLUMNS][N][1];

    template <typename Work>
    __device__ __forceinline__ void fill(int c, Work work) {
#pragma unroll
        for (int p = 0; p < COLUMNS; p++) {
            int j = p * WARP + int(threadIdx.x);
            if (j < c) {
                work(p, j, values[p]);
            }
        }
    }

    template <typename Work>
    __device__ __forceinline__ void each(int c, Work work) {
        fill(c, work);
    }
};

struct LayerNormStats {
    float mean;
    float rstd;  // 1 / standard deviation
};

// Normalizes a row of c by the THREADS that share it: load(p, j, x) gives a pack, 0 beyond the row's end; weights(p, j, w, b) its
// weights and biases; put(p, j, y) gets what comes of it. Products are rounded before they are added, as on a CPU: the compiler
// might fuse the two for one kind of output and not for the other.
template <int THREADS, typename Values, typename Load, typename Weights, typename Put>
__device__ __forceinline__ LayerNormStats layer_norm_row(Values& row, int c, Load load, Weights weights, Put put) {
    constexpr int N = Values::PACKED;
    float total = 0;
    row.fill(c, [&](int p, int j, float (&pack)[1][N]) {
        load(p, j, pack[0]);
#pragma unroll
        for (int k = 0; k < N; k++) {
            total += pack[0][k];
        }
    });
    float mean = row_sum<THREADS>(total) / c;
    float squares = 0;
    row.each(c, [&](int, int j, float (&pack)[1][N]) {
#pragma unroll
        for (int k = 0; k < N; k++) {
            if (j + k < c) {
                pack[0][k] -= mean;
                squares = __fadd_rn(squares, __fmul_rn(pack[0][k], pack[0][k]));
            }
        }
    });
    again<THREADS>();
    float rstd = 1.0f / sqrtf(row_sum<THREADS>(squares) / c + LAYER_NORM_EPS);
    row.each(c, [&](int p, int j, float (&pack)[1][N]) {
        float w[N];
        float b[N];
        weights(p, j, w, b);
#pragma unroll
        for (int k = 0; k < N; k++) {
            pack[0][k] = __fadd_rn(__fmul_rn(__fmul_rn(pack[0][k], rstd), w[k]), b[k]);
        }
        put(p, j, pack[0]);
    });
    return {mean, rstd};
}

// The gradient of a row's input: load(p, j, x, g, w) gives packs of the input, of the output's gradient, 0 beyond the row's end,
// and of the weights; seen(p, j, normed, g) is told what the gradients of weights and biases are made of; put(p, j, dx) gets what
// is to be added to the gradient.
template <int THREADS, typename Values, typename Load, typename Seen, typename Put>
__device__ __forceinline__ void layer_norm_grad_row(Values& row, int c, LayerNormStats stats, Load load, Seen seen, Put put) {
    constexpr int N = Values::PACKED;
    float sum = 0;
    float product = 0;
    row.fill(c, [&](int p, int j, float (&pack)[2][N]) {
        auto& [normed, scaled] = pack;
        float grads[N];
        float w[N];
        load(p, j, normed, grads, w);
#pragma unroll
        for (int k = 0; k < N; k++) {
            normed[k] = (normed[k] - stats.mean) * stats.rstd;
            scaled[k] = grads[k] * w[k];
            sum += scaled[k];
            product += scaled[k] * normed[k];
        }
        seen(p, j, normed, grads);
    });
    again<THREADS>();
    float a = row_sum<THREADS>(sum) / c;
    again<THREADS>();
    float b = row_sum<THREADS>(product) / c;
    row.each(c, [&](int p, int j, float (&pack)[2][N]) {
        auto& [normed, scaled] = pack;
        float dx[N];
#pragma unroll
        for (int k = 0; k < N; k++) {
            dx[k] = stats.rstd * (scaled[k] - a - normed[k] * b);
        }
        put(p, j, dx);
    });
}

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
