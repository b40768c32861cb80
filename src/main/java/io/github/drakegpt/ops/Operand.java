package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;
import java.util.List;

/**
 * A tensor that an operation works on.
 *
 * @param name of the record's component
 * @param dims names of its dimensions, in the notation of {@link Operands}
 * @param over names of the operands that it may be the same tensor as
 */
public record Operand(String name, Tensor tensor, Access access, Extent extent, List<String> dims, List<String> over) {
    /** How much of the tensor a pass uses. */
    public enum Extent {
        /** The first rows: as many as the pass has tokens. */
        ROWS,
        /** The first sequences: as many as the pass has. */
        SEQUENCES,
        /** All of it. */
        WHOLE,
        /** All of it; each element is a sum over the rows of the pass. */
        SUM
    }

    /** Elements of one row, or of one sequence, or all. */
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
