// The kernels for the instructions that the including file is compiled for, in the order of NativeCall.Kernel: with
// products of bfloat16, what measures their peak if that is not fp32's, and kernels of packed weights, which are null where
// only Java has them.
#pragma once

#include "attention.h"
#include "dropout.h"
#include "linear.h"
#include "norms.h"
#include "optimizer.h"
#include "packed.h"
#include "peak.h"
#include "quantization.h"
#include "softmax.h"

// clang-format off
#define PACKED(ternary) quantize_int8<ternary>, packed_linear<ternary>, peak_int8<ternary>
#define NOT_PACKED nullptr, nullptr, nullptr
#define KERNELS(matmul_bf16, peak_bf16, packed) { \
    linear, linear_grad, linear_bf16<matmul_bf16>, linear_grad_bf16<matmul_bf16>, relu_grad, \
    layer_norm, layer_norm_grad, rms_norm, rms_norm_grad, residual, residual_grad, \
    attention, attention_grad, attention_cached, \
    softmax, softmax_grad, cross_entropy, \
    quantize_weights, quantize_rows, packed, \
    sum, squares, adamw, \
    dropout_mask, \
    peak_fp32, peak_bf16, read, \
}
