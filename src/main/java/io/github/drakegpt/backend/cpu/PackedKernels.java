package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.tensor.Tensor;

/** The operations with 8-bit rows and packed weights on the calling thread. All implementations give the same bits. */
interface PackedKernels {
    /** {@link io.github.drakegpt.backend.Backend#quantizeInt8}. */
    void quantizeInt8(Tensor x, Int8Rows q, int rows, int c);

    /** {@link io.github.drakegpt.backend.Backend#packedLinear} for tiles fromTile to toTile - 1 of the weights. */
    void packedLinear(
            Int8Rows x, PackedWeights w, Tensor bias, boolean relu, Tensor y, int rows, int fromTile, int toTile);
}
