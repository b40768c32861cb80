package io.github.drakegpt.ops;

import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Tensor;

/**
 * Rounds each of several consecutive matrices with its own scale, as {@link Quantization} defines: the weights of a
 * quantized model. With s = 1 / max(mean(|w|), 1e-5), b1.58 gives clip(round(w s), -1, 1) / s.
 *
 * @param w (matrices * n), F32
 * @param quantization BITNET or B158
 * @param matrices of one size
 * @param strength (1), F32: where below 1, q = w + strength * (rounded - w); or null for 1
 * @param q as w
 */
public record QuantizeWeightsOp(Tensor w, Quantization quantization, int matrices, Tensor strength, Tensor q)
        implements Operation {
    /** Checks the operands. */
    public QuantizeWeightsOp {
        operands(w, quantization, matrices, strength, q).check();
        if (matrices < 1 || w.size() % matrices != 0) {
            throw new IllegalArgumentException(
                    "quantizeWeights: w is " + w.shape() + "; that is not " + matrices + " matrices of one size.");
        }
    }

    @Override
    public Operands operands() {
        return operands(w, quantization, matrices, strength, q);
    }

    private static Operands operands(Tensor w, Quantization quantization, int matrices, Tensor strength, Tensor q) {
        return new Operands("quantizeWeights")
                .readF32("w", w, "elements")
                .readF32("strength", strength, "1")
                .write("q", q, "elements");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.quantizeWeights(this);
    }

    /** Elements of a matrix. */
    public int each() {
        return Math.toIntExact(w.size() / matrices);
    }
}
