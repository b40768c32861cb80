package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Root mean square normalization of each row (Zhang and Sennrich, 2019): out = x / sqrt(mean(x^2) + 1e-5) * weight.
 *
 * @param x (rows, C)
 * @param weight (C)
 * @param out (rows, C)
 * @param stats (rows), F32: 1 / root mean square, for the gradient
 * @param rounded gets out rounded to 8 bits, and out and stats are undefined afterwards; or null
 */
public record RmsNormOp(Tensor x, Tensor weight, Tensor out, Tensor stats, Int8Rows rounded) implements Operation {
    /** Checks the operands. */
    public RmsNormOp {
        operands(x, weight, out, stats, rounded).check();
    }

    @Override
    public Operands operands() {
        return operands(x, weight, out, stats, rounded);
    }

    private static Operands operands(Tensor x, Tensor weight, Tensor out, Tensor stats, Int8Rows rounded) {
        return new Operands("rmsNorm")
                .read("x", x, "rows", "c")
                .readF32("weight", weight, "c")
                .normed(out, stats, rounded, "rows");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.rmsNorm(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, x);
    }

    /** C. */
    public int columns() {
        return x.shape().columns();
    }
}
