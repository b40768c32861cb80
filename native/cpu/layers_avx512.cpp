#include "layers_kernel.h"

namespace layers {
const Kernels avx512 = {layer_norm, layer_norm_grad, attention<16>, attention_grad<16>};
}
