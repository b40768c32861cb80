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
// branch_bias (c) null.
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
    bool wide_weights = is_wide(weight) && is_wide(bias);
    Row<T, THREADS, ELEMENTS, 1> values;
    LayerNormStats normed = layer_norm_row<THREADS>(
        values, c,
        [&](int, int j, float (&pack)[PACK<T>]) {
            load(x + start + j, c - j, wide, pack);
            if (branch != nullptr) {
                float added[PACK<T>];
                load_branch(branch + start + j, branch_bias, j, c - j, wide, added);
                if (dropout.active()) {
                    apply(dropout, (first_row + row) * c + j, added);
                }
#pragma unroll
                for (int k = 0; k < PACK<T>; k++) {
                    pack[k] = as_stored<T>(__fadd_rn(pack[k], added[k]));
                }
                store(sum + start + j, c - j, wide, pack);
            }
        },
        [&](int, int j, float (&w)[PACK<T>], float (&b)[PACK<T>]) {
            load_floats<T>(weight + j, c - j, wide_weights, w);
            load_floats<T>(bias + j, c - j, wide_weights, b);
        },
        [&](int, int j, float (&pack)[PACK<T>]) { out.put(row, j, c, wide, pack); });
    out.end(row, c, values);
    if (stats != nullptr && threadIdx.x == 0) {
        stats[2 * row] = normed.mean;
        stats[2 * row + 1] = normed.rstd;
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
        Row<T, THREADS, ELEMENTS, 2> values;
        layer_norm_grad_row<THREADS>(
            values, c, {stats[2 * row], stats[2 * row + 1]},
            [&](int, int j, float (&xs)[PACK<T>], float (&grads)[PACK<T>], float (&w)[PACK<T>]) {
                load(x + start + j, c - j, wide, xs);
                load(dout + start + j, c - j, wide, grads);
                load_floats<T>(weight + j, c - j, wide_weights, w);
            },
            [&](int p, int j, const float (&normed)[PACK<T>], const float (&grads)[PACK<T>]) {
                float products[PACK<T>];
#pragma unroll
                for (int k = 0; k < PACK<T>; k++) {
                    products[k] = grads[k] * normed[k];
                }
                dweight.add(p, j, products);
                dbias.add(p, j, grads);
            },
            [&](int p, int j, const float (&added)[PACK<T>]) {
                float grads[PACK<T>];
                load(dx + start + j, c - j, wide, grads);
#pragma unroll
                for (int k = 0; k < PACK<T>; k++) {
                    grads[k] += added[k];
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
