#include "layers_kernel.h"

namespace layers {
const Kernels avx2 = {layer_norm, layer_norm_grad, attention<8>, attention_grad<8>};
}
