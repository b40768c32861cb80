package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * An operation with its operands. It is made once, when a layer is built, and checked then, for all devices. Running it
 * allocates nothing.
 */
public interface Operation {
    /** The operands, with how each is used. */
    Operands operands();

    /** Runs it. An operation without rows ignores the pass. */
    void run(Operations on, Pass pass);

    /** Bytes that it moves if it reads and writes each element once. */
    default long bytes(Pass pass) {
        return operands().list().stream()
                .mapToLong(operand -> operand.bytes(pass))
                .sum();
    }

    /** The rows of a pass, of which the operand (rows, C) must have as many. */
    static int rows(Pass pass, Tensor operand) {
        return rows(pass, operand.size() / operand.shape().columns());
    }

    /**
     * The rows of a pass.
     *
     * @param capacity rows that the operands have
     * @throws IllegalArgumentException if the pass has more
     */
    static int rows(Pass pass, long capacity) {
        int rows = pass.rows();
        if (rows > capacity) {
            throw new IllegalArgumentException("A pass of " + rows + " rows was given to an operation for at most "
                    + capacity + "; build the model for larger passes.");
        }
        return rows;
    }
}
