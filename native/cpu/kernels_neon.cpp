#include "kernels.h"

const Kernel neon_kernels[] = KERNELS(matmul_bf16, nullptr, NOT_PACKED);
