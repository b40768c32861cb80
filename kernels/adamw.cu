// AdamW (Loshchilov and Hutter, 2019) over flat buffers, and the norm of the gradient.
//
// Bound by memory: a step reads parameters, gradients and both moments and writes all but the gradients, 28 bytes a
// parameter; the norm reads the gradients once more.
#include "common/pack.cuh"
#include "common/reduce.cuh"

// parts (gridDim.x) = sums of squares. A thread takes PACK elements, and then those gridDim.x blocks on.
KERNEL(ROW_THREADS, squares_f32, const float* x, float* parts, int n) {
    bool wide = is_wide(x);
    float sum = 0;
    int stride = gridDim.x * ROW_THREADS * PACK<float>;
    for (long long i = (blockIdx.x * ROW_THREADS + threadIdx.x) * PACK<float>; i < n; i += stride) {
        float values[PACK<float>];
        load(x + i, int(n - i), wide, values);
#pragma unroll
        for (int k = 0; k < PACK<float>; k++) {
            sum += values[k] * values[k];
        }
    }
    sum = row_sum<ROW_THREADS>(sum);
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
    }
}

// norm (1) = the root of the sum of n parts, by one warp.
KERNEL(WARP, root_f32, const float* parts, float* norm, int n) {
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += WARP) {
        sum += parts[i];
    }
    sum = warp_sum(sum);
    if (threadIdx.x == 0) {
        *norm = sqrtf(sum);
    }
}

// One step. learning_rate (1); step (1) counts from 1; grad_norm is looked at if clip > 0. factors: params rounded, or null.
__device__ __forceinline__ void adamw(float* params, __nv_bfloat16* factors, const float* grads, float* first_moments,
                                      float* second_moments, const float* learning_rate, const int* step,
                                      float grad_norm, float beta1, float beta2, float eps, float weight_decay,
                                      float clip, int n) {
    SHARED(float, shared, [4]);
    if (threadIdx.x == 0) {
        float rate = *learning_rate;
        // PyTorch's clip_grad_norm_ has the same 1e-6, and passes NaN on
        float clipped = clip > 0 ? clip / (grad_norm + 1e-6f) : 1.0f;
        shared[0] = clipped > 1 ? 1.0f : clipped;
        shared[1] = 1 - rate * weight_decay;
        shared[2] = float(rate / (1 - pow(double(beta1), double(*step))));
        shared[3] = float(1 / sqrt(1 - pow(double(beta2), double(*step))));
    }
    __syncthreads();
    float grad_scale = shared[0];
    float decay = shared[1];
    float step_size = shared[2];
    float root_scale = shared[3];
    long long i = pack_index<float>();
    if (i >= n) {
        return;
    }
    int left = int(n - i);
    bool wide = is_wide(params) && is_wide(grads) && is_wide(first_moments) && is_wide(second_moments);
    float p[PACK<float>];
    float g[PACK<float>];
    float m[PACK<float>];
    float v[PACK<float>];
    load(params + i, left, wide, p);
    load(grads + i, left, wide, g);
    load(first_moments + i, left, wide, m);
    load(second_moments + i, left, wide, v);
#pragma unroll
    for (int k = 0; k < PACK<float>; k++) {
        float grad = g[k] * grad_scale;
        m[k] = beta1 * m[k] + (1 - beta1) * grad;
        v[k] = beta2 * v[k] + (1 - beta2) * grad * grad;
        p[k] = p[k] * decay - step_size * m[k] / (sqrtf(v[k]) * root_scale + eps);
    }
    store(params + i, left, wide, p);
    if (factors != nullptr) {
        store(factors + i, left, is_wide(factors), p);
    }
    store(first_moments + i, left, wide, m);
    store(second_moments + i, left, wide, v);
}

KERNEL(256, adamw_f32, float* params, __nv_bfloat16* factors, const float* grads, float* first_moments,
       float* second_moments, const float* learning_rate, const int* step, const float* grad_norm, float beta1,
       float beta2, float eps, float weight_decay, float clip, int n) {
    adamw(params, factors, grads, first_moments, second_moments, learning_rate, step, *grad_norm, beta1, beta2, eps,
          weight_decay, clip, n);
}

// The same where grad_norm (1) is still to be made from `count` sums of squares: each block does so for itself.
KERNEL(ROW_THREADS, adamw_squares_f32, float* params, const float* grads, float* first_moments, float* second_moments,
       const float* learning_rate, const int* step, const float* squares, int count, float* grad_norm, float beta1,
       float beta2, float eps, float weight_decay, float clip, int n) {
    float sum = 0;
    for (int i = threadIdx.x; i < count; i += ROW_THREADS) {
        sum += squares[i];
    }
    float norm = sqrtf(row_sum<ROW_THREADS>(sum));
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        *grad_norm = norm;
    }
    adamw(params, nullptr, grads, first_moments, second_moments, learning_rate, step, norm, beta1, beta2, eps, weight_decay, clip, n);
}
