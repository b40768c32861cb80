#include "kernels.h"

const Kernel avx512_kernels[] = KERNELS(quantize_int8<ternary::avx512>, packed_linear<ternary::avx512>);
const Kernel amx_kernels[] = KERNELS(quantize_int8<ternary::avx512>, packed_linear<ternary::avx512>);
