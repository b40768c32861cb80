#include "kernels.h"

const Kernel avx512_kernels[] = KERNELS(ternary::avx512);
