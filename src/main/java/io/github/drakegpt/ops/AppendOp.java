package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Tensor;

/**
 * Drops the first token of each sequence and appends another one.
 *
 * @param tokens I32 (B, T)
 * @param next I32 (B)
 */
public record AppendOp(Tensor tokens, Tensor next) implements Operation {
    /** Checks the operands. */
    public AppendOp {
        operands(tokens, next).check();
    }

    @Override
    public Operands operands() {
        return operands(tokens, next);
    }

    private static Operands operands(Tensor tokens, Tensor next) {
        return new Operands("append")
                .of(DType.I32, Access.UPDATE, "tokens", tokens, "rows")
                .readI32("next", next, "batch");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.append(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, tokens.size());
    }
}
