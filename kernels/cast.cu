// Between float32 and bfloat16, rounding to the nearest, ties to even.
//
// Bound by memory: six bytes an element.
#include "common/pack.cuh"

// Eight elements a thread: 16 bytes of bfloat16.
KERNEL(256, f32_to_bf16, const float* x, __nv_bfloat16* y, int n) {
    long long i = pack_index<__nv_bfloat16>();
    if (i >= n) {
        return;
    }
    int left = int(n - i);
    float values[PACK<__nv_bfloat16>];
    load_floats<__nv_bfloat16>(x + i, left, is_wide(x), values);
    store(y + i, left, is_wide(y), values);
}

KERNEL(256, bf16_to_f32, const __nv_bfloat16* x, float* y, int n) {
    long long i = pack_index<__nv_bfloat16>();
    if (i >= n) {
        return;
    }
    int left = int(n - i);
    float values[PACK<__nv_bfloat16>];
    load(x + i, left, is_wide(x), values);
    store_floats<__nv_bfloat16>(y + i, left, is_wide(y), values);
}
