package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Tensor;

/**
 * Adds one to a counter.
 *
 * @param counter I32 (1)
 */
public record IncrementOp(Tensor counter) implements Operation {
    /** Checks the operands. */
    public IncrementOp {
        operands(counter).check();
    }

    @Override
    public Operands operands() {
        return operands(counter);
    }

    private static Operands operands(Tensor counter) {
        return new Operands("increment").of(DType.I32, Access.UPDATE, "counter", counter, "1");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.increment(this);
    }
}
