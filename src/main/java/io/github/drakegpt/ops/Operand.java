package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;
import java.util.List;

/**
 * A tensor that an operation reads or writes.
 *
 * @param name of the record's component
 * @param dims names of its dimensions, in the notation of {@link Operands}
 * @param over names of operands that may be the same tensor
 */
public record Operand(String name, Tensor tensor, Access access, Extent extent, List<String> dims, List<String> over) {
    /** How much of the tensor a pass uses. */
    public enum Extent {
        /** The first rows, one for each token of the pass. */
        ROWS,
        /** The first sequences, one for each of the pass. */
        SEQUENCES,
        /** All of it. */
        WHOLE,
        /** All of it; each element is a sum over the rows of the pass. */
        SUM
    }

    /** Elements of one row, of one sequence, or all. */
    public long each() {
        return extent == Extent.ROWS || extent == Extent.SEQUENCES
                ? tensor.size() / Operands.leading(tensor.shape(), dims.size())
                : tensor.size();
    }

    /** Elements that a pass uses. */
    public long elements(Pass pass) {
        return switch (extent) {
            case ROWS -> pass.rows() * each();
            case SEQUENCES -> pass.batch() * each();
            case WHOLE, SUM -> each();
        };
    }

    /** Bytes that a pass reads and writes if it touches each element once. */
    public long bytes(Pass pass) {
        int times = switch (access) {
            case READ, WRITE -> 1;
            case UPDATE -> 2;
            case SCRATCH -> 0;
        };
        return times * elements(pass) * tensor.dtype().bytes();
    }
}
