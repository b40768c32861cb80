package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.Pass;

/** The loops that take most of a small model's time besides matrix products. All implementations give the same bits. */
interface LayerKernels {
    /** Epsilon that norms add to the variance. */
    float NORM_EPS = 1e-5f;

    /** The norm of a {@link LayerNormOp} alone. */
    void layerNorm(LayerNormOp op, int rows);

    /**
     * The gradients of the norm alone, except for the sums over rows.
     *
     * @param products receives dout * (x - mean) * rstd, whose sums are dweight; (rows, c) from the array's beginning
     */
    void layerNormGrad(LayerNormGradOp op, float[] products, int rows);

    /** Attention over sequences too short for matrix products. */
    void attention(AttentionOp op, Pass pass);

    /** Its gradient. */
    void attentionGrad(AttentionGradOp op, Pass pass);
}
