#include "kernels.h"
#include "matmul_amx.h"

const Kernel avx512_kernels[] = KERNELS(matmul_bf16, nullptr, PACKED(ternary::avx512));
const Kernel amx_kernels[] = KERNELS(matmul_amx, peak_bf16, PACKED(ternary::amx));
