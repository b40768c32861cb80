package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * The residual connection (He et al., 2016): sum = x + dropout(branch + bias). Element (r, c) has number
 * (first row of the pass + r) * C + c of the mask.
 *
 * @param x (rows, C)
 * @param branch (rows, C)
 * @param bias (C), of the layer that ends the branch; or null
 * @param dropout of passes that {@linkplain Pass#training train}, or null
 * @param sum (rows, C); may be x, or branch
 */
public record ResidualOp(Tensor x, Tensor branch, Tensor bias, Dropout dropout, Tensor sum) implements Operation {
    /** Checks the operands. */
    public ResidualOp {
        operands(x, branch, bias, dropout, sum).check();
    }

    @Override
    public Operands operands() {
        return operands(x, branch, bias, dropout, sum);
    }

    private static Operands operands(Tensor x, Tensor branch, Tensor bias, Dropout dropout, Tensor sum) {
        return new Operands("residual")
                .read("x", x, "rows", "c")
                .read("branch", branch, "rows", "c")
                .readF32("bias", bias, "c")
                .dropout(dropout)
                .write("sum", sum, "rows", "c")
                .orOver("x", "branch");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.residual(this, pass);
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
