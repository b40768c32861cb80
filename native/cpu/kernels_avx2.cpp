#include "kernels.h"

const Kernel avx2_kernels[] = KERNELS(matmul_bf16, nullptr, PACKED(ternary::avx2));
