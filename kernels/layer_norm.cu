// Layer normalization (Ba, Kiros and Hinton, 2016), on its own or fused with the residual sum, bias and dropout before it and with
// the rounding to 8 bits behind it; and its gradient, on its own or fused with that of the residual sum.
//
// Bound by memory. Forward: x read and out written; fused, x and branch read, sum and out written: each once, since a row
// stays in registers between the mean, the variance and the output. Backward: x, dout and dx read, dx written, fused dbranch too.
#include "common/int8.cuh"
#include "common/norm.cuh"
#include "common/philox.cuh"

// x, branch, sum, out (rows, c); weight, bias (c); stats (rows, 2): mean and 1 / standard deviation, or null. branch null:
// out = norm(x), and sum is not used. Else sum = x + dropout(branch + branch_bias) and out = norm(sum); sum may be x, and
// branch_bias (c) null. Products
// are rounded before they are added, as on a CPU: the compiler might fuse the two for one kind of output and not for the other.
template <typename T, int THREADS, int ELEMENTS, typename Output>
__device__ void layer_norm(const T* x, const T* branch, const float* branch_bias, T* sum, const float* weight,
                           const float* bias, Output out, float* stats, int rows, int c, long long first_row,
                           const Dropout& dropout) {
    unsigned row = row_index();
    if (row >= rows) {
        return;
    }
    long long start = (long long)row * c;
    bool wide = c % PACK<T> == 0 && is_wide(x) && is_wide(branch) && out.wide() && (branch == nullptr || is_wide(sum));
    Row<T, THREADS, ELEMENTS, 1> values;
    float total = 0;
    values.fill(c, [&](int, int j, float (&pack)[1][PACK<T>]) {
        load(x + start + j, c - j, wide, pack[0]);
        if (branch != nullptr) {
            float added[PACK<T>];
            load_branch(branch + start + j, branch_bias, j, c - j, wide, added);
            if (dropout.active()) {
                apply(dropout, (first_row + row) * c + j, added);
            }
#pragma unroll
            for (int k = 0; k < PACK<T>; k++) {
                pack[0][k] = as_stored<T>(__fadd_rn(pack[0][k], added[k]));
            }
            store(sum + start + j, c - j, wide, pack[0]);
        }
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            total += pack[0][k];  // 0 beyond the row's end
        }
    });
    float mean = row_sum<THREADS>(total) / c;
    float squares = 0;
    values.each(c, [&](int, int j, float (&pack)[1][PACK<T>]) {
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            if (j + k < c) {
                pack[0][k] -= mean;
                squares = __fadd_rn(squares, __fmul_rn(pack[0][k], pack[0][k]));
            }
        }
    });
    again<THREADS>();
    float rstd = 1.0f / sqrtf(row_sum<THREADS>(squares) / c + LAYER_NORM_EPS);
    bool wide_weights = is_wide(weight) && is_wide(bias);
    values.each(c, [&](int, int j, float (&pack)[1][PACK<T>]) {
        float w[PACK<T>];
        float b[PACK<T>];
        load_floats<T>(weight + j, c - j, wide_weights, w);
        load_floats<T>(bias + j, c - j, wide_weights, b);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            pack[0][k] = __fadd_rn(__fmul_rn(__fmul_rn(pack[0][k], rstd), w[k]), b[k]);
        }
        out.put(row, j, c, wide, pack[0]);
    });
    out.end(row, c, values);
    if (stats != nullptr && threadIdx.x == 0) {
        stats[2 * row] = mean;
        stats[2 * row + 1] = rstd;
    }
}

#define LAYER_NORM(T, NAME, THREADS, ELEMENTS)                                                                                 \
    KERNEL(ROW_THREADS, layer_norm_##NAME, const T* x, const T* branch, const float* branch_bias, T* sum, const float* weight, \
           const float* bias, T* out, float* stats, int rows, int c, long long first_row, unsigned long long seed,             \
           int purpose, const int* step, int threshold, float scale) {                                                         \
        layer_norm<T, THREADS, ELEMENTS>(x, branch, branch_bias, sum, weight, bias, NormedRows<T>{out}, stats, rows, c,        \
                                         first_row, make_dropout(seed, purpose, step, threshold, scale));                      \
    }

FOR_EACH_NORM(LAYER_NORM)

#define LAYER_NORM_INT8(T, NAME, THREADS, ELEMENTS)                                                                          \
    KERNEL(ROW_THREADS, layer_norm_int8_##NAME, const T* x, const T* branch, T* sum, const float* weight, const float* bias, \
           signed char* values, float* scales, int* sums, int stride, int rows, int c) {                                     \
        layer_norm<T, THREADS, ELEMENTS>(x, branch, nullptr, sum, weight, bias,                                              \
                                         RoundedRows<THREADS>{{values, scales, sums, stride}}, nullptr, rows, c, 0,          \
                                         Dropout{});                                                                         \
    }

FOR_EACH_FLOAT_NORM(LAYER_NORM_INT8)

// dx (rows, c) += the gradient of the norm's input; dbranch (rows, c) or null = dropout mask * dx, and may be dout. partials
// (gridDim.x, 2, c), with dbranch (gridDim.x, 3, c): each block's sums for dweight, dbias and the branch's bias, which column_sums
// adds up. A block takes every gridDim.x-th group of rows.
template <typename T, int THREADS, int ELEMENTS>
__device__ void layer_norm_grad(const T* x, const float* weight, const float* stats, const T* dout, T* dx, T* dbranch,
                                float* partials, int rows, int c, long long first_row, const Dropout& dropout) {
    bool wide = c % PACK<T> == 0 && is_wide(x) && is_wide(dout) && is_wide(dx) && is_wide(dbranch);
    bool wide_weights = is_wide(weight);
    float* sums = partials + (long long)blockIdx.x * (dbranch == nullptr ? 2 : 3) * c;
    ColumnSums<T, THREADS, ELEMENTS> dweight(sums, c);
    ColumnSums<T, THREADS, ELEMENTS> dbias(sums + c, c);
    ColumnSums<T, THREADS, ELEMENTS> dbranch_bias(dbranch == nullptr ? nullptr : sums + 2 * (long long)c, c);
    for (unsigned row = row_index(); row < rows; row += gridDim.x * blockDim.y) {
        long long start = (long long)row * c;
        float mean = stats[2 * row];
        float rstd = stats[2 * row + 1];
        Row<T, THREADS, ELEMENTS, 2> row_values;  // what was normed, and dout * weight
        float sum = 0;
        float product = 0;
        row_values.fill(c, [&](int p, int j, float (&pack)[2][PACK<T>]) {
            auto& [normed, scaled] = pack;
            float grads[PACK<T>];
            load(x + start + j, c - j, wide, normed);
            load(dout + start + j, c - j, wide, grads);
            float w[PACK<T>];
            load_floats<T>(weight + j, c - j, wide_weights, w);
            float products[PACK<T>];
#pragma unroll
            for (int k = 0; k < PACK<T>; k++) {
                // beyond the row's end all of grads is 0
                normed[k] = (normed[k] - mean) * rstd;
                products[k] = grads[k] * normed[k];
                scaled[k] = grads[k] * w[k];
                sum += scaled[k];
                product += scaled[k] * normed[k];
            }
            dweight.add(p, j, products);
            dbias.add(p, j, grads);
        });
        again<THREADS>();
        float a = row_sum<THREADS>(sum) / c;
        again<THREADS>();
        float b = row_sum<THREADS>(product) / c;
        row_values.each(c, [&](int p, int j, float (&pack)[2][PACK<T>]) {
            auto& [normed, scaled] = pack;
            float grads[PACK<T>];
            load(dx + start + j, c - j, wide, grads);
#pragma unroll
            for (int k = 0; k < PACK<T>; k++) {
                grads[k] += rstd * (scaled[k] - a - normed[k] * b);
            }
            store(dx + start + j, c - j, wide, grads);
            if (dbranch != nullptr) {
#pragma unroll
                for (int k = 0; k < PACK<T>; k++) {
                    grads[k] = as_stored<T>(grads[k]);
                }
                if (dropout.active()) {
                    apply(dropout, (first_row + row) * c + j, grads);
                }
#pragma unroll
                for (int k = 0; k < PACK<T>; k++) {
                    grads[k] = as_stored<T>(grads[k]);
                }
                dbranch_bias.add(p, j, grads);
                store(dbranch + start + j, c - j, wide, grads);
            }
        });
    }
    dweight.end();
    dbias.end();
    if (dbranch != nullptr) {
        dbranch_bias.end();
    }
}

#define LAYER_NORM_GRAD(T, NAME, THREADS, ELEMENTS)                                                                        \
    KERNEL(ROW_THREADS, layer_norm_grad_##NAME, const T* x, const float* weight, const float* stats, const T* dout, T* dx, \
           T* dbranch, float* partials, int rows, int c, long long first_row, unsigned long long seed, int purpose,        \
           const int* step, int threshold, float scale) {                                                                  \
        layer_norm_grad<T, THREADS, ELEMENTS>(x, weight, stats, dout, dx, dbranch, partials, rows, c, first_row,           \
                                              make_dropout(seed, purpose, step, threshold, scale));                        \
    }

FOR_EACH_NORM(LAYER_NORM_GRAD)
