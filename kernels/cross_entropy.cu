// Softmax and cross entropy of each row of logits, with the gradient in the same launch.
//
// Bound by memory: logits read once from memory (the gradient's pass finds them in the cache), the gradient written once;
// it may be written over the logits.
#include "common/online_softmax.cuh"

// losses (rows): -log p(target), in nats; not a number where the target is no token. dlogits (rows, v) or null =
// (softmax(logits) - onehot(target)) * grad_scale.
template <typename T, int THREADS>
__device__ void cross_entropy(const float* logits, const int* targets, float* losses, T* dlogits, float grad_scale,
                              int rows, int v) {
    unsigned row = row_index();
    if (row >= rows) {
        return;
    }
    long long start = (long long)row * v;
    bool wide = v % PACK<T> == 0 && is_wide(logits) && is_wide(dlogits);
    int target = targets[row];
    Softmax softmax = row_softmax<float, THREADS>(logits + start, v, wide);
    if (threadIdx.x == 0) {
        losses[row] = softmax.loss(logits + start, target, v);
    }
    if (dlogits == nullptr) {
        return;
    }
    if constexpr (sizeof(T) == sizeof(float)) {
        // in place: the loss is read before another thread overwrites the target's logit
        if (dlogits == logits) {
            if constexpr (THREADS == WARP) {
                __syncwarp();
            } else {
                __syncthreads();
            }
        }
    }
    float factor = grad_scale / softmax.denominator;
    for (int j = int(threadIdx.x) * PACK<T>; j < v; j += THREADS * PACK<T>) {
        float values[PACK<T>];
        load_floats<T>(logits + start + j, v - j, wide, values);
#pragma unroll
        for (int k = 0; k < PACK<T>; k++) {
            values[k] = softmax.loss_grad(values[k], j + k == target, factor, grad_scale);
        }
        store(dlogits + start + j, v - j, wide, values);
    }
}

#define CROSS_ENTROPY(T, TYPE)                                                                                          \
    KERNEL(ROW_THREADS, cross_entropy_warp_##TYPE, const float* logits, const int* targets, float* losses, T* dlogits,  \
           float grad_scale, int rows, int v) {                                                                         \
        cross_entropy<T, WARP>(logits, targets, losses, dlogits, grad_scale, rows, v);                                  \
    }                                                                                                                   \
    KERNEL(ROW_THREADS, cross_entropy_block_##TYPE, const float* logits, const int* targets, float* losses, T* dlogits, \
           float grad_scale, int rows, int v) {                                                                         \
        cross_entropy<T, ROW_THREADS>(logits, targets, losses, dlogits, grad_scale, rows, v);                           \
    }

CROSS_ENTROPY(float, f32)
CROSS_ENTROPY(__nv_bfloat16, bf16)

// total (1) = the sum of n losses, by one block of ROW_THREADS. In float64, so that the many are no less exact than the few.
KERNEL(ROW_THREADS, total_f32, const float* losses, float* total, int n) {
    double sum = 0;
    for (int i = threadIdx.x; i < n; i += ROW_THREADS) {
        sum += losses[i];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        *total = float(sum);
    }
}
