package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Gradients of a {@link ResidualOp} for the branch and its bias: dbranch = dropout mask * dsum, dbias the sum of its
 * rows. The gradient of x is dsum itself.
 *
 * @param dsum (rows, C)
 * @param dropout of passes that {@linkplain Pass#training train}, or null
 * @param dbranch (rows, C); may be dsum
 * @param dbias (C), F32, or null
 */
public record ResidualGradOp(Tensor dsum, Dropout dropout, Tensor dbranch, Tensor dbias) implements Operation {
    /** Checks the operands. */
    public ResidualGradOp {
        operands(dsum, dropout, dbranch, dbias).check();
    }

    @Override
    public Operands operands() {
        return operands(dsum, dropout, dbranch, dbias);
    }

    private static Operands operands(Tensor dsum, Dropout dropout, Tensor dbranch, Tensor dbias) {
        return new Operands("residualGrad")
                .read("dsum", dsum, "rows", "c")
                .dropout(dropout)
                .write("dbranch", dbranch, "rows", "c")
                .orOver("dsum")
                .sum("dbias", dbias, "c");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.residualGrad(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, dsum);
    }

    /** C. */
    public int columns() {
        return dsum.shape().columns();
    }
}
