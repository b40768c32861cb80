// Elements in memory, 16 bytes at a time, and as float32 in registers.
#pragma once
#include "kernel.cuh"

// How many elements are 16 bytes.
template <typename T>
constexpr int PACK = 16 / sizeof(T);

template <typename T>
struct alignas(16) Pack {
    T elements[PACK<T>];
};

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

// Writes the first `left` of PACK elements.
template <typename T>
__device__ __forceinline__ void store(T* p, int left, bool wide, const float (&values)[PACK<T>]) {
    if (wide && left >= PACK<T>) {
        Pack<T> pack;
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            pack.elements[k] = T(values[k]);
        }
        *reinterpret_cast<Pack<T>*>(p) = pack;
    } else {
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            if (k < left) {
                p[k] = T(values[k]);
            }
        }
    }
}
