package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Sets rows to zero.
 *
 * @param x (rows, C)
 */
public record ZeroOp(Tensor x) implements Operation {
    /** Checks the operands. */
    public ZeroOp {
        operands(x).check();
    }

    @Override
    public Operands operands() {
        return operands(x);
    }

    private static Operands operands(Tensor x) {
        return new Operands("zero").write("x", x, "rows", "c");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.zero(this, pass);
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
