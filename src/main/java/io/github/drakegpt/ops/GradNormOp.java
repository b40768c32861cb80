package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * The square root of the sum of the squares of all elements.
 *
 * @param x (n), F32
 * @param norm (1), F32
 */
public record GradNormOp(Tensor x, Tensor norm) implements Operation {
    /** Checks the operands. */
    public GradNormOp {
        operands(x, norm).check();
    }

    @Override
    public Operands operands() {
        return operands(x, norm);
    }

    private static Operands operands(Tensor x, Tensor norm) {
        return new Operands("gradNorm").readF32("x", x, "n").writeF32("norm", norm, "1");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.gradNorm(this);
    }
}
