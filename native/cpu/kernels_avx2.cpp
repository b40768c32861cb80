#include "kernels.h"

const Kernel avx2_kernels[] = KERNELS(matmul_bf16, quantize_int8<ternary::avx2>, packed_linear<ternary::avx2>);
