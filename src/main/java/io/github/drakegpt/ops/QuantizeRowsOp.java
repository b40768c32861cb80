package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Rounds each row to 8 bits with its own scale: the inputs of linear layers in a quantized model. With s = 127 /
 * max(max(|x|), 1e-5), round(x s) / s, ties to even.
 *
 * @param x (rows, C)
 * @param strength (1), F32: where below 1, q = x + strength * (rounded - x); or null for 1
 * @param q (rows, C)
 */
public record QuantizeRowsOp(Tensor x, Tensor strength, Tensor q) implements Operation {
    /** Checks the operands. */
    public QuantizeRowsOp {
        operands(x, strength, q).check();
    }

    @Override
    public Operands operands() {
        return operands(x, strength, q);
    }

    private static Operands operands(Tensor x, Tensor strength, Tensor q) {
        return new Operands("quantizeRows")
                .read("x", x, "rows", "c")
                .readF32("strength", strength, "1")
                .write("q", q, "rows", "c");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.quantizeRows(this, pass);
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
