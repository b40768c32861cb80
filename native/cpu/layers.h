// Layer norm, and causal attention over short sequences: Backend's layerNorm, attention and their gradients define them.
// JavaLayerKernels computes the same, and these do to the last bit what it does: the same sums in the same order.
#pragma once

namespace layers {

/** out = (x - mean) / deviation * weight + bias, by rows. x, out (rows, c), weight, bias (c), stats (rows, 2). */
struct LayerNorm {
    const float* x;
    const float* weight;
    const float* bias;
    float* out;
    float* stats;  // mean, 1 / deviation
    int rows;
    int c;
    float eps;
};

/** Adds to dx what its rows owe to those of dout; products = dout * normed, whose columns' sums are dweight. */
struct LayerNormGrad {
    const float* x;
    const float* weight;
    const float* stats;
    const float* dout;
    float* dx;
    float* products;
    int rows;
    int c;
};

/** qkv, dqkv (batch, t, 3 width), out, dout (batch, t, width), stats (batch, heads, t, 2), mask (batch, heads, t, t). */
struct Attention {
    const float* qkv;
    float* out;
    float* stats;       // maximum, 1 / denominator of the softmax
    const float* dout;  // of the gradient only
    float* dqkv;        // of the gradient only
    const float* mask;  // factors of dropout, or null
    float* scratch;     // at least scratch_floats
    float scale;        // of the scores
    int batch;
    int t;
    int heads;
    int head_size;
};

/** The kernels with some instructions. */
struct Kernels {
    void (*layer_norm)(const LayerNorm& n);
    void (*layer_norm_grad)(const LayerNormGrad& n);
    void (*attention)(const Attention& a);
    void (*attention_grad)(const Attention& a);
};

extern const Kernels avx2;
extern const Kernels avx512;

}  // namespace layers
