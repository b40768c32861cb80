package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * The softmax of each row. Causal: the rows are those of consecutive square matrices; row i of each is over its
 * elements up to i, and the others become 0.
 *
 * @param x (rows, C)
 * @param y (rows, C); may be x
 */
public record SoftmaxOp(Tensor x, Tensor y, boolean causal) implements Operation {
    /** Checks the operands. */
    public SoftmaxOp {
        operands(x, y, causal).check();
    }

    @Override
    public Operands operands() {
        return operands(x, y, causal);
    }

    private static Operands operands(Tensor x, Tensor y, boolean causal) {
        return new Operands("softmax")
                .read("x", x, "rows", "c")
                .write("y", y, "rows", "c")
                .orOver("x");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.softmax(this, pass);
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
