#include "kernels.h"

const Kernel neon_kernels[] = KERNELS(nullptr, nullptr);
