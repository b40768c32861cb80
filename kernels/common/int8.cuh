// Rows rounded to 8 bits, as io.github.drakegpt.backend.Int8Rows says: alone, or where a norm would have written its output.
#pragma once
#include "norm.cuh"

// What is divided by is at least this, as in the original code.
constexpr float SMALLEST_SCALE = 1e-5f;

// values (rows, stride), scales and sums (rows). A row's THREADS first measure all of it, then agree on the scale, then put
// its codes, and end it.
template <int THREADS>
struct Int8Rows {
    signed char* values;
    float* scales;
    int* sums;
    int stride;

    // The largest magnitude so far. Bits of magnitudes compare as the magnitudes do, with NaN above infinity.
    unsigned largest = __float_as_uint(SMALLEST_SCALE);
    float inverse = 0;
    int sum = 0;

    // Beyond the end of a row, x is 0.
    __device__ void measure(const float (&x)[PACK<float>]) {
#pragma unroll
        for (int k = 0; k < PACK<float>; k++) {
            largest = max(largest, __float_as_uint(x[k]) & 0x7fffffffu);
        }
    }

    __device__ void agree() {
        largest = row_max<THREADS>(largest);
        inverse = 127.0f / __uint_as_float(largest);
    }

    // The codes of elements from column j on.
    __device__ void put(int row, int j, const float (&x)[PACK<float>]) {
        unsigned codes = 0;
#pragma unroll
        for (int k = 0; k < PACK<float>; k++) {
            int code = __float2int_rn(__fmul_rn(x[k], inverse));  // 0 for NaN
            codes |= (code & 0xffu) << 8 * k;
            sum += code;
        }
        *reinterpret_cast<unsigned*>(values + (long long)row * stride + j) = codes;
    }

    // The row had c elements: the rest of it becomes 0.
    __device__ void end(int row, int c) {
        int filled = (c + PACK<float> - 1) / PACK<float> * PACK<float>;
        for (int j = filled + int(threadIdx.x) * PACK<float>; j < stride; j += THREADS * PACK<float>) {
            *reinterpret_cast<unsigned*>(values + (long long)row * stride + j) = 0;
        }
        sum = row_sum<THREADS>(sum);
        if (threadIdx.x == 0) {
            scales[row] = __uint_as_float(largest) / 127.0f;
            sums[row] = sum;
        }
    }
};

// Where a norm leaves its rows: `put` gets each pack when it is computed, `end` the whole Row.

// out (rows, c) as it is.
template <typename T>
struct NormedRows {
    T* out;

    __device__ bool wide() const {
        return is_wide(out);
    }

    __device__ void put(int row, int j, int c, bool wide, const float (&values)[PACK<T>]) {
        store(out + (long long)row * c + j, c - j, wide, values);
    }

    template <typename Normed>
    __device__ void end(int, int, Normed&) {}
};

// Rounded to 8 bits: what the norm and quantize_int8 give one after the other, bit by bit.
template <int THREADS>
struct RoundedRows {
    Int8Rows<THREADS> rounded;

    __device__ bool wide() const {
        return true;
    }

    __device__ void put(int, int, int, bool, const float (&values)[PACK<float>]) {
        rounded.measure(values);
    }

    template <typename Normed>
    __device__ void end(int row, int c, Normed& normed) {
        rounded.agree();
        normed.each(c, [&](int, int j, const float (&values)[1][PACK<float>]) { rounded.put(row, j, values[0]); });
        rounded.end(row, c);
    }
};
