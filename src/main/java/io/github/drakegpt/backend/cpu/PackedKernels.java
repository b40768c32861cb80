package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.tensor.Tensor;

/** The operations with 8-bit rows and packed weights on the calling thread. All implementations give the same bits. */
interface PackedKernels {
    /** Rounds rows of c elements to 8 bits. */
    void quantizeInt8(Tensor x, Int8Rows q, int rows, int c);

    /** The outputs of a {@link PackedLinearOp} from tiles fromTile to toTile - 1 of the weights. */
    void packedLinear(PackedLinearOp op, int rows, int fromTile, int toTile);
}
