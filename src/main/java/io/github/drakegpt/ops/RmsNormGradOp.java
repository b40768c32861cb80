package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Gradients of an {@link RmsNormOp}: that of x is added to dx.
 *
 * @param x (rows, C)
 * @param weight (C)
 * @param stats (rows), F32
 * @param dout (rows, C)
 * @param dx (rows, C)
 * @param dweight (C), F32
 */
public record RmsNormGradOp(Tensor x, Tensor weight, Tensor stats, Tensor dout, Tensor dx, Tensor dweight)
        implements Operation {
    /** Checks the operands. */
    public RmsNormGradOp {
        operands(x, weight, stats, dout, dx, dweight).check();
    }

    @Override
    public Operands operands() {
        return operands(x, weight, stats, dout, dx, dweight);
    }

    private static Operands operands(Tensor x, Tensor weight, Tensor stats, Tensor dout, Tensor dx, Tensor dweight) {
        return new Operands("rmsNormGrad")
                .read("x", x, "rows", "c")
                .readF32("weight", weight, "c")
                .readF32("stats", stats, "rows")
                .read("dout", dout, "rows", "c")
                .update("dx", dx, "rows", "c")
                .sum("dweight", dweight, "c");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.rmsNormGrad(this, pass);
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
