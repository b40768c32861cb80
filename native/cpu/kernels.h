// The kernels for the instructions that the including file is compiled for, in the order of NativeCall.Kernel: with
// products of bfloat16 and kernels of packed weights, which are null where only Java has them.
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
#define KERNELS(matmul_bf16, quantize_int8, packed_linear) { \
    linear, linear_grad, linear_bf16<matmul_bf16>, linear_grad_bf16<matmul_bf16>, relu_grad, \
    layer_norm, layer_norm_grad, rms_norm, rms_norm_grad, residual, residual_grad, \
    attention, attention_grad, attention_cached, \
    softmax, softmax_grad, cross_entropy, \
    quantize_weights, quantize_rows, quantize_int8, packed_linear, \
    sum, squares, adamw, \
    dropout_mask, \
    peak, \
}
