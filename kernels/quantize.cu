// What a quantized model is trained with: weights rounded to a sign or to -1, 0, 1, inputs of linear layers to int8, both
// times their scale again (BITNET 2310.11453, b1.58 2402.17764).
//
// And what it generates with: the inputs as int8 (the weights are packed by Java).
//
// Bound by memory: weights are read twice (the second time from the cache) and written once, inputs read and written once.
#include "common/int8.cuh"

// The rounded value, or something between it and the exact one. strength may be null for 1.
__device__ __forceinline__ float blend(float exact, float rounded, const float* strength) {
    float s = strength == nullptr ? 1.0f : *strength;
    return s < 1 ? exact + s * (rounded - exact) : rounded;
}

// parts (matrices, gridDim.x, 2): sums of w and of |w| over a part of each matrix of w (matrices, n).
KERNEL(ROW_THREADS, weight_sums_f32, const float* w, double* parts, long long n) {
    const float* matrix = w + blockIdx.y * n;
    bool wide = is_wide(matrix);
    double sum = 0;
    double magnitude = 0;
    long long stride = (long long)gridDim.x * ROW_THREADS * PACK<float>;
    for (long long i = ((long long)blockIdx.x * ROW_THREADS + threadIdx.x) * PACK<float>; i < n; i += stride) {
        float values[PACK<float>];
        load(matrix + i, int(n - i < PACK<float> ? n - i : PACK<float>), wide, values);
#pragma unroll
        for (int k = 0; k < PACK<float>; k++) {
            sum += values[k];
            magnitude += fabsf(values[k]);
        }
    }
    sum = block_sum(sum);
    __syncthreads();
    magnitude = block_sum(magnitude);
    if (threadIdx.x == 0) {
        double* part = parts + ((long long)blockIdx.y * gridDim.x + blockIdx.x) * 2;
        part[0] = sum;
        part[1] = magnitude;
    }
}

// q (matrices, n) = w rounded by the scale of its matrix, for which `count` parts of each are added up. `binary`: to the sign
// of w - mean(w), where 0 is positive; else to -1, 0, 1.
template <typename T>
__device__ void quantize_weights(const float* w, const double* parts, const float* strength, T* q, long long n, int count,
                                 int binary) {
    double sum = 0;
    double magnitude = 0;
    for (int i = 0; i < count; i++) {
        sum += parts[((long long)blockIdx.y * count + i) * 2];
        magnitude += parts[((long long)blockIdx.y * count + i) * 2 + 1];
    }
    float mean = float(sum / double(n));
    float size = float(magnitude / double(n));
    float scale = 1.0f / fmaxf(size, SMALLEST_SCALE);
    const float* matrix = w + blockIdx.y * n;
    T* target = q + blockIdx.y * n;
    bool wide = is_wide(matrix) && is_wide(target);
    long long i = pack_index<T>();
    if (i >= n) {
        return;
    }
    int left = int(n - i < PACK<T> ? n - i : PACK<T>);
    float values[PACK<T>];
    load_floats<T>(matrix + i, left, wide, values);
#pragma unroll
    for (int k = 0; k < PACK<T>; k++) {
        float ternary = rintf(values[k] * scale);
        ternary = ternary > 1 ? 1.0f : ternary < -1 ? -1.0f : ternary;  // NaN stays
        float sign = values[k] - mean >= 0 ? size : values[k] - mean < 0 ? -size : NAN;
        values[k] = blend(values[k], binary ? sign : ternary / scale + 0.0f, strength);  // never -0
    }
    store(target + i, left, wide, values);
}

#define QUANTIZE_WEIGHTS(T, TYPE)                                                                                    \
    KERNEL(ROW_THREADS, quantize_weights_##TYPE, const float* w, const double* parts, const float* strength, T* q,   \
           long long n, int count, int binary) {                                                                     \
        quantize_weights(w, parts, strength, q, n, count, binary);                                                   \
    }

QUANTIZE_WEIGHTS(float, f32)
QUANTIZE_WEIGHTS(__nv_bfloat16, bf16)

// q (rows, c) = each row of x in 256 steps of its largest magnitude / 127.
template <typename T, int THREADS>
__device__ void quantize_rows(const T* x, const float* strength, T* q, int rows, int c) {
    unsigned row = row_index();
    if (row >= rows) {
        return;
    }
    long long start = (long long)row * c;
    bool wide = c % PACK<T> == 0 && is_wide(x) && is_wide(q);
    float largest = 0;
    for (int j = int(threadIdx.x) * PACK<T>; j < c; j += THREADS * PACK<T>) {
        float values[PACK<T>];
        load(x + start + j, c - j, wide, values);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            largest = fmaxf(largest, fabsf(values[k]));
        }
    }
    float scale = 127.0f / fmaxf(row_max<THREADS>(largest), SMALLEST_SCALE);
    for (int j = int(threadIdx.x) * PACK<T>; j < c; j += THREADS * PACK<T>) {
        float values[PACK<T>];
        load(x + start + j, c - j, wide, values);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            // at most 127 by the choice of the scale, and never -0
            values[k] = blend(values[k], rintf(values[k] * scale) / scale + 0.0f, strength);
        }
        store(q + start + j, c - j, wide, values);
    }
}

#define QUANTIZE_ROWS(T, TYPE)                                                                                       \
    KERNEL(ROW_THREADS, quantize_rows_warp_##TYPE, const T* x, const float* strength, T* q, int rows, int c) {       \
        quantize_rows<T, WARP>(x, strength, q, rows, c);                                                             \
    }                                                                                                                \
    KERNEL(ROW_THREADS, quantize_rows_block_##TYPE, const T* x, const float* strength, T* q, int rows, int c) {      \
        quantize_rows<T, ROW_THREADS>(x, strength, q, rows, c);                                                      \
    }

QUANTIZE_ROWS(float, f32)
QUANTIZE_ROWS(__nv_bfloat16, bf16)

// The rows of x (rows, c) in 8 bits.
template <int THREADS>
__device__ void quantize_int8(const float* x, Int8Rows<THREADS> q, int rows, int c) {
    unsigned row = row_index();
    if (row >= rows) {
        return;
    }
    const float* source = x + (long long)row * c;
    bool wide = c % PACK<float> == 0 && is_wide(x);
    for (int j = int(threadIdx.x) * PACK<float>; j < c; j += THREADS * PACK<float>) {
        float values[PACK<float>];
        load(source + j, c - j, wide, values);
        q.measure(values);
    }
    q.agree();
    for (int j = int(threadIdx.x) * PACK<float>; j < c; j += THREADS * PACK<float>) {
        float values[PACK<float>];
        load(source + j, c - j, wide, values);
        q.put(row, j, values);
    }
    q.end(row, c);
}

KERNEL(ROW_THREADS, quantize_int8_warp_f32, const float* x, signed char* values, float* scales, int* sums, int stride,
       int rows, int c) {
    quantize_int8<WARP>(x, {values, scales, sums, stride}, rows, c);
}

KERNEL(ROW_THREADS, quantize_int8_block_f32, const float* x, signed char* values, float* scales, int* sums, int stride,
       int rows, int c) {
    quantize_int8<ROW_THREADS>(x, {values, scales, sums, stride}, rows, c);
}
