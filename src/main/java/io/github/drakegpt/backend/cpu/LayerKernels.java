package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.tensor.Tensor;

/** The loops that take most of a small model's time beside the matrix products, to the last bit the same in all classes. */
interface LayerKernels {
    /** {@link Backend#layerNorm}. */
    void norm(Tensor x, Tensor weight, Tensor bias, Tensor out, Tensor stats, int rows, int c, float eps);

    /**
     * {@link Backend#layerNormGrad} but for the sums over rows.
     *
     * @param products gets dout * (x - mean) * rstd, whose sums are dweight; (rows, c) from the array's beginning
     */
    void normGrad(Tensor x, Tensor weight, Tensor stats, Tensor dout, Tensor dx, float[] products, int rows, int c);

    /** {@link Backend#attention} over sequences too short for matrix products: {@code o} are offsets into the arrays. */
    void attention(
            float[] qkv,
            int qo,
            float[] out,
            int oo,
            float[] stats,
            int so,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize);

    /** {@link Backend#attentionGrad} over such sequences. */
    void attentionGrad(
            float[] qkv,
            int qo,
            float[] out,
            int oo,
            float[] stats,
            int so,
            float[] dout,
            int go,
            float[] dqkv,
            int dqo,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize);
}
