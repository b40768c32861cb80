#include "layers_kernel.h"

namespace layers {
const Kernels avx2 = {norm, norm_grad, attention<8>, attention_grad<8>};
}
