#include "kernels.h"
#include "matmul_amx.h"

const Kernel avx512_kernels[] = KERNELS(matmul_bf16, quantize_int8<ternary::avx512>, packed_linear<ternary::avx512>);
const Kernel amx_kernels[] = KERNELS(matmul_amx, quantize_int8<ternary::amx>, packed_linear<ternary::amx>);
