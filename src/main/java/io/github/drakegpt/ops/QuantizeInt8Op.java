package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Rounds rows to 8 bits, as {@link Int8Rows} defines.
 *
 * @param x (rows, C), F32
 */
public record QuantizeInt8Op(Tensor x, Int8Rows q) implements Operation {
    /** Checks the operands. */
    public QuantizeInt8Op {
        operands(x, q).check();
        q.requireColumns("quantizeInt8", x.shape().columns());
    }

    @Override
    public Operands operands() {
        return operands(x, q);
    }

    private static Operands operands(Tensor x, Int8Rows q) {
        return new Operands("quantizeInt8").readF32("x", x, "rows", "c").int8(Access.WRITE, "q", q);
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.quantizeInt8(this, pass);
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
