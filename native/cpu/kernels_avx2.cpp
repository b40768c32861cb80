#include "kernels.h"

const Kernel avx2_kernels[] = KERNELS(quantize_int8<ternary::avx2>, packed_linear<ternary::avx2>);
