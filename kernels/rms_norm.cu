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
    Row<T, THREADS, ELEMENTS, 1> values;
    float squares = 0;
    values.fill(c, [&](int, int j, float (&pack)[1][PACK<T>]) {
        load(x + start + j, c - j, wide, pack[0]);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            squares = __fadd_rn(squares, __fmul_rn(pack[0][k], pack[0][k]));
        }
    });
    float scale = 1.0f / sqrtf(row_sum<THREADS>(squares) / c + RMS_NORM_EPS);
    values.each(c, [&](int, int j, float (&pack)[1][PACK<T>]) {
        float w[PACK<T>];
        load_floats<T>(weight + j, c - j, wide_weights, w);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            pack[0][k] *= scale * w[k];
        }
        out.put(row, j, c, wide, pack[0]);
    });
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
    ColumnSums<T, THREADS, ELEMENTS> dweight(partials + (long long)blockIdx.x * c, c);
    for (unsigned row = row_index(); row < rows; row += gridDim.x * blockDim.y) {
        long long start = (long long)row * c;
        float scale = stats[row];
        Row<T, THREADS, ELEMENTS, 2> row_values;  // what was normed, and dout * weight
        float product = 0;
        row_values.fill(c, [&](int p, int j, float (&pack)[2][PACK<T>]) {
            auto& [normed, scaled] = pack;
            load(x + start + j, c - j, wide, normed);
            load(dout + start + j, c - j, wide, scaled);
            float w[PACK<T>];
            load_floats<T>(weight + j, c - j, wide_weights, w);
            float products[PACK<T>];
#pragma unroll
            for (int k = 0; k < PACK<T>; k++) {
                normed[k] *= scale;
                products[k] = scaled[k] * normed[k];
                scaled[k] *= w[k];
                product += scaled[k] * normed[k];
            }
            dweight.add(p, j, products);
        });
        again<THREADS>();
        float b = row_sum<THREADS>(product) / c;
        row_values.each(c, [&](int, int j, float (&pack)[2][PACK<T>]) {
            auto& [normed, scaled] = pack;
            float grads[PACK<T>];
            load(dx + start + j, c - j, wide, grads);
#pragma unroll
            for (int k = 0; k < PACK<T>; k++) {
                grads[k] += scale * (scaled[k] - normed[k] * b);
            }
            store(dx + start + j, c - j, wide, grads);
        });
    }
    dweight.end();
}

#define RMS_NORM_GRAD(T, NAME, THREADS, ELEMENTS)                                                                        \
    KERNEL(ROW_THREADS, rms_norm_grad_##NAME, const T* x, const float* weight, const float* stats, const T* dout, T* dx, \
           float* partials, int rows, int c) {                                                                           \
        rms_norm_grad<T, THREADS, ELEMENTS>(x, weight, stats, dout, dx, partials, rows, c);                              \
    }

FOR_EACH_NORM(RMS_NORM_GRAD)
