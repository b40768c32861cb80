// Elements in memory, 16 bytes at a time, and as float32 in registers.
#pragma once
#include "kernel.cuh"

// How many elements are 16 bytes.
template <typename T>
constexpr int PACK = 16 / sizeof(T);

template <typename T, int N = PACK<T>>
struct alignas(N * sizeof(T)) Pack {
    T elements[N];
};

// The first of the PACK elements that are this thread's: int would wrap within the last block of 2^31 elements.
template <typename T>
__device__ __forceinline__ long long pack_index() {
    return ((long long)blockIdx.x * blockDim.x + threadIdx.x) * PACK<T>;
}

// What a value is once it has been stored and loaded again.
template <typename T>
__device__ __forceinline__ float as_stored(float x) {
    return float(T(x));
}

// Whether a pointer can be read and written 16 bytes at a time; a null pointer can.
__device__ __forceinline__ bool is_wide(const void* p) {
    return (reinterpret_cast<unsigned long long>(p) & 15) == 0;
}

// PACK elements from p on, of which `left` exist; the others become 0. `wide`: p is a multiple of 16 bytes.
template <typename T>
__device__ __forceinline__ void load(const T* p, int left, bool wide, float (&values)[PACK<T>]) {
    if (wide && left >= PACK<T>) {
        Pack<T> pack = *reinterpret_cast<const Pack<T>*>(p);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            values[k] = float(pack.elements[k]);
        }
    } else {
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            values[k] = k < left ? float(p[k]) : 0.0f;
        }
    }
}

// As many float32 as there are elements T in 16 bytes, from p on: for what is read beside them.
template <typename T>
__device__ __forceinline__ void load_floats(const float* p, int left, bool wide, float (&values)[PACK<T>]) {
#pragma unroll
    for (int q = 0; q < PACK<T>; q += PACK<float>) {
        float part[PACK<float>];
        load(p + q, left - q, wide, part);
#pragma unroll
        for (int k = 0; k < PACK<float>; k++) {
            values[q + k] = part[k];
        }
    }
}

// The output of a linear layer from column j of a row on, with its bias unless that is null.
template <typename T>
__device__ __forceinline__ void load_branch(const T* p, const float* bias, int j, int left, bool wide, float (&values)[PACK<T>]) {
    load(p, left, wide, values);
    if (bias != nullptr) {
        float biases[PACK<T>];
        load_floats<T>(bias + j, left, wide && is_wide(bias), biases);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            values[k] += biases[k];
        }
    }
}

// Writes the first `left` of N elements. `wide`: p is a multiple of their bytes.
template <typename T, int N>
__device__ __forceinline__ void store(T* p, int left, bool wide, const float (&values)[N]) {
    if (wide && left >= N) {
        Pack<T, N> pack;
#pragma unroll
        for (int k = 0; k < N; k++) {
            pack.elements[k] = T(values[k]);
        }
        *reinterpret_cast<Pack<T, N>*>(p) = pack;
    } else {
#pragma unroll
        for (int k = 0; k < N; k++) {
            if (k < left) {
                p[k] = T(values[k]);
            }
        }
    }
}

// As many float32 as there are elements T in 16 bytes.
template <typename T>
__device__ __forceinline__ void store_floats(float* p, int left, bool wide, const float (&values)[PACK<T>]) {
#pragma unroll
    for (int q = 0; q < PACK<T>; q += PACK<float>) {
        float part[PACK<float>];
#pragma unroll
        for (int k = 0; k < PACK<float>; k++) {
            part[k] = values[q + k];
        }
        store(p + q, left - q, wide, part);
    }
}
