#include "layers_kernel.h"

namespace layers {
const Kernels avx512 = {norm, norm_grad, attention<16>, attention_grad<16>};
}
