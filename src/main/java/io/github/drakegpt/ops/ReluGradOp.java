package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Gradients of a ReLU and of the bias before it, in place: dy is zeroed where the output y was not positive; dbias is then
 * the sum of its rows.
 *
 * @param y (rows, C)
 * @param dy (rows, C)
 * @param dbias (C), F32, or null
 */
public record ReluGradOp(Tensor y, Tensor dy, Tensor dbias) implements Operation {
    /** Checks the operands. */
    public ReluGradOp {
        operands(y, dy, dbias).check();
    }

    @Override
    public Operands operands() {
        return operands(y, dy, dbias);
    }

    private static Operands operands(Tensor y, Tensor dy, Tensor dbias) {
        return new Operands("reluGrad")
                .read("y", y, "rows", "c")
                .update("dy", dy, "rows", "c")
                .sum("dbias", dbias, "c");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.reluGrad(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, y);
    }

    /** C. */
    public int columns() {
        return y.shape().columns();
    }
}
