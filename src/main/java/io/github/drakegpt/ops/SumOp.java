package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Tensor;
import java.util.List;

/**
 * sum = parts[0] + parts[1] + ..., added in that order.
 *
 * @param parts each (n), F32
 * @param add whether to add them to the content of sum
 * @param sum (n), F32
 */
public record SumOp(List<Tensor> parts, boolean add, Tensor sum) implements Operation {
    /** Checks the operands. */
    public SumOp {
        operands(parts, add, sum).check();
    }

    @Override
    public Operands operands() {
        return operands(parts, add, sum);
    }

    private static Operands operands(List<Tensor> parts, boolean add, Tensor sum) {
        return new Operands("sum")
                .all("part", parts, "n")
                .of(DType.F32, add ? Access.UPDATE : Access.WRITE, "sum", sum, "n");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.sum(this);
    }
}
