// y = dropout(x), and the gradient of it, which is the same with gradients.
//
// Bound by memory: n elements read and n written. A mask is drawn again where it is needed and never stored.
#include "common/pack.cuh"
#include "common/philox.cuh"

// Each thread takes PACK elements. Element i of x is element first + i of what the mask is drawn for.
template <typename T>
__device__ void dropout(const T* x, T* y, int n, long long first, const Dropout& dropout) {
    int i = (blockIdx.x * blockDim.x + threadIdx.x) * PACK<T>;
    if (i >= n) {
        return;
    }
    bool wide = is_wide(x) && is_wide(y);
    float values[PACK<T>];
    load(x + i, n - i, wide, values);
    if (dropout.active()) {
        apply(dropout, first + i, values);
    }
    store(y + i, n - i, wide, values);
}

#define DROPOUT(T, TYPE)                                                                                             \
    KERNEL(256, dropout_##TYPE, const T* x, T* y, int n, long long first, unsigned long long seed, int purpose,      \
           const int* step, int threshold, float scale) {                                                            \
        dropout(x, y, n, first, make_dropout(seed, purpose, step, threshold, scale));                                \
    }

DROPOUT(float, f32)
DROPOUT(__nv_bfloat16, bf16)
