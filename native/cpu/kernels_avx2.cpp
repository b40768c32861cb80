#include "kernels.h"

const Kernel avx2_kernels[] = KERNELS(ternary::avx2);
