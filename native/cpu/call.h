// What Java's NativeCall passes to a kernel.
#pragma once

#include <cstdint>
#include <cstring>

/** Arrays and numbers, taken in the order in which NativeCall was given them; NativeCall has checked all sizes. */
class Call {
public:
    Call(void* const* arrays, const int32_t* starts, const int32_t* numbers)
        : arrays(arrays), starts(starts), numbers(numbers) {}

    /** The next array, or null, from its first element of interest on. */
    template <typename T>
    T* array() {
        void* elements = *arrays++;
        int32_t start = *starts++;
        return elements ? static_cast<T*>(elements) + start : nullptr;
    }

    float* floats() { return array<float>(); }

    int32_t number() { return *numbers++; }

    float real() {
        float x;
        memcpy(&x, numbers++, sizeof x);
        return x;
    }

private:
    void* const* arrays;
    const int32_t* starts;
    const int32_t* numbers;
};

using Kernel = void (*)(Call call);

/** The kernels with some instructions, in the order of NativeCall.Kernel. */
extern const Kernel avx2_kernels[];
extern const Kernel avx512_kernels[];
extern const Kernel amx_kernels[];
extern const Kernel neon_kernels[];
