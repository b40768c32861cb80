package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * The gradient of a {@link SoftmaxOp} from its output.
 *
 * @param y (rows, C)
 * @param dy (rows, C)
 * @param dx (rows, C); may be dy
 */
public record SoftmaxGradOp(Tensor y, Tensor dy, Tensor dx, boolean causal) implements Operation {
    /** Checks the operands. */
    public SoftmaxGradOp {
        operands(y, dy, dx, causal).check();
    }

    @Override
    public Operands operands() {
        return operands(y, dy, dx, causal);
    }

    private static Operands operands(Tensor y, Tensor dy, Tensor dx, boolean causal) {
        return new Operands("softmaxGrad")
                .read("y", y, "rows", "c")
                .read("dy", dy, "rows", "c")
                .write("dx", dx, "rows", "c")
                .orOver("dy");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.softmaxGrad(this, pass);
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
