package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * A linear layer: y = x w^T + bias, optionally followed by ReLU.
 *
 * @param x (rows, in)
 * @param w (out, in), of the type of x
 * @param bias (out), or null
 * @param y (rows, out); may be F32 where x is BF16
 */
public record LinearOp(Tensor x, Tensor w, Tensor bias, boolean relu, Tensor y) implements Operation {
    /** Checks the operands. */
    public LinearOp {
        operands(x, w, bias, relu, y).check();
    }

    @Override
    public Operands operands() {
        return operands(x, w, bias, relu, y);
    }

    private static Operands operands(Tensor x, Tensor w, Tensor bias, boolean relu, Tensor y) {
        return new Operands("linear")
                .read("x", x, "rows", "in")
                .read("w", w, "out", "in")
                .readF32("bias", bias, "out")
                .any(Access.WRITE, "y", y, "rows", "out");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.linear(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, x);
    }

    /** Columns of x. */
    public int in() {
        return w.shape().columns();
    }

    /** Columns of y. */
    public int out() {
        return y.shape().columns();
    }
}
