// Root mean square normalization (Zhang and Sennrich, 2019): out = x / sqrt(mean(x^2) + eps) * weight, on its own or fused with
// the rounding to 8 bits behind it, and its gradient.
//
// Bound by memory: forward reads x and writes out once; backward reads x, dout and dx and writes dx.
#include "common/int8.cuh"
#include "common/norm.cuh"

constexpr float RMS_NORM_EPS = 1e-5f;

// x, out (rows, c); weight (c); stats (rows): 1 / root mean square, or null. Squares are rounded before they are added, as on a
// CPU: the compiler might fuse the two for one kind of output and not for the other.
template <typename T, int THREADS, int ELEMENTS, typename Output>
__device__ void rms_norm(const T* x, const float* weight, Output out, float* stats, int rows, int c) {
    unsigned row = row_index();
    if (row >= rows) {
        return;
    }
    long long start = (long long)row * c;
    bool wide = c % PACK<T> == 0 && is_wide(x) && out.wide();
    bool wide_weights = is_wide(weight);
    float values[PACKS<T, ELEMENTS>][PACK<T>];
    float squares = 0;
#pragma unroll
    for (int p = 0; p < PACKS<T, ELEMENTS>; p++) {
        int j = (p * THREADS + int(threadIdx.x)) * PACK<T>;
        if (j < c) {
            load(x + start + j, c - j, wide, values[p]);
#pragma unroll
            for (int k = 0; k < PACK<T>; k++) {
                squares = __fadd_rn(squares, __fmul_rn(values[p][k], values[p][k]));
            }
        }
    }
    float scale = 1.0f / sqrtf(row_sum<THREADS>(squares) / c + RMS_NORM_EPS);
#pragma unroll
    for (int p = 0; p < PACKS<T, ELEMENTS>; p++) {
        int j = (p * THREADS + int(threadIdx.x)) * PACK<T>;
        if (j < c) {
            float w[PACK<T>];
            load_floats<T>(weight + j, c - j, wide_weights, w);
#pragma unroll
            for (int k = 0; k < PACK<T>; k++) {
                values[p][k] *= scale * w[k];
            }
            out.put(row, j, c, wide, values[p]);
        }
    }
    out.end(row, c, values);
    if (stats != nullptr && threadIdx.x == 0) {
        stats[row] = scale;
    }
}

#define RMS_NORM(T, NAME, THREADS, ELEMENTS)                                                                         \
    KERNEL(ROW_THREADS, rms_norm_##NAME, const T* x, const float* weight, T* out, float* stats, int rows, int c) {   \
        rms_norm<T, THREADS, ELEMENTS>(x, weight, NormedRows<T>{out}, stats, rows, c);                               \
    }

FOR_EACH_NORM(RMS_NORM)

#define RMS_NORM_INT8(T, NAME, THREADS, ELEMENTS)                                                                             \
    KERNEL(ROW_THREADS, rms_norm_int8_##NAME, const T* x, const float* weight, signed char* values, float* scales, int* sums, \
           int stride, int rows, int c) {                                                                                     \
        rms_norm<T, THREADS, ELEMENTS>(x, weight, RoundedRows<THREADS>{{values, scales, sums, stride}}, nullptr, rows, c);    \
    }

FOR_EACH_FLOAT_NORM(RMS_NORM_INT8)

// dx (rows, c) += the gradient of the norm's input. partials (gridDim.x, c): each block's sums for dweight.
template <typename T, int THREADS, int ELEMENTS>
__device__ void rms_norm_grad(const T* x, const float* weight, const float* stats, const T* dout, T* dx,
                              float* partials, int rows, int c) {
    bool wide = c % PACK<T> == 0 && is_wide(x) && is_wide(dout) && is_wide(dx);
    bool wide_weights = is_wide(weight);
    float dweight[PACKS<T, ELEMENTS>][PACK<T>] = {};
    for (unsigned row = row_index(); row < rows; row += gridDim.x * blockDim.y) {
        long long start = (long long)row * c;
        float scale = stats[row];
        float normed[PACKS<T, ELEMENTS>][PACK<T>];
        float scaled[PACKS<T, ELEMENTS>][PACK<T>];  // dout * weight
        float product = 0;
#pragma unroll
        for (int p = 0; p < PACKS<T, ELEMENTS>; p++) {
            int j = (p * THREADS + int(threadIdx.x)) * PACK<T>;
            if (j < c) {
                load(x + start + j, c - j, wide, normed[p]);
                load(dout + start + j, c - j, wide, scaled[p]);
                float w[PACK<T>];
                load_floats<T>(weight + j, c - j, wide_weights, w);
#pragma unroll
                for (int k = 0; k < PACK<T>; k++) {
                    normed[p][k] *= scale;
                    dweight[p][k] += scaled[p][k] * normed[p][k];
                    scaled[p][k] *= w[k];
                    product += scaled[p][k] * normed[p][k];
                }
            }
        }
        float b = row_sum<THREADS>(product) / c;
#pragma unroll
        for (int p = 0; p < PACKS<T, ELEMENTS>; p++) {
            int j = (p * THREADS + int(threadIdx.x)) * PACK<T>;
            if (j < c) {
                float grads[PACK<T>];
                load(dx + start + j, c - j, wide, grads);
#pragma unroll
                for (int k = 0; k < PACK<T>; k++) {
                    grads[k] += scale * (scaled[p][k] - normed[p][k] * b);
                }
                store(dx + start + j, c - j, wide, grads);
            }
        }
    }
    add_column_sums<T, THREADS>(dweight, partials + (long long)blockIdx.x * c, c);
}

#define RMS_NORM_GRAD(T, NAME, THREADS, ELEMENTS)                                                                        \
    KERNEL(ROW_THREADS, rms_norm_grad_##NAME, const T* x, const float* weight, const float* stats, const T* dout, T* dx, \
           float* partials, int rows, int c) {                                                                           \
        rms_norm_grad<T, THREADS, ELEMENTS>(x, weight, stats, dout, dx, partials, rows, c);                              \
    }

FOR_EACH_NORM(RMS_NORM_GRAD)
