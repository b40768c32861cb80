package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Gradients of a {@link LinearOp} without its ReLU: dx = dy w, dw = dy^T x, dbias the sum of the rows of dy.
 *
 * @param x (rows, in)
 * @param w (out, in)
 * @param dy (rows, out)
 * @param dx (rows, in), or null
 * @param dw (out, in), F32
 * @param dbias (out), F32, or null
 */
public record LinearGradOp(Tensor x, Tensor w, Tensor dy, Tensor dx, Tensor dw, Tensor dbias) implements Operation {
    /** Checks the operands. */
    public LinearGradOp {
        operands(x, w, dy, dx, dw, dbias).check();
    }

    @Override
    public Operands operands() {
        return operands(x, w, dy, dx, dw, dbias);
    }

    private static Operands operands(Tensor x, Tensor w, Tensor dy, Tensor dx, Tensor dw, Tensor dbias) {
        return new Operands("linearGrad")
                .read("x", x, "rows", "in")
                .read("w", w, "out", "in")
                .read("dy", dy, "rows", "out")
                .write("dx", dx, "rows", "in")
                .sum("dw", dw, "out", "in")
                .sum("dbias", dbias, "out");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.linearGrad(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, x);
    }

    /** Columns of x. */
    public int in() {
        return w.shape().columns();
    }

    /** Columns of dy. */
    public int out() {
        return dy.shape().columns();
    }
}
