package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * The gradient of an {@link AttentionOp}.
 *
 * @param forward the operation whose gradient this is; its out and stats are read
 * @param dout (B, T, A)
 * @param dqkv (B, T, 3A)
 */
public record AttentionGradOp(AttentionOp forward, Tensor dout, Tensor dqkv) implements Operation {
    /** Checks the operands. */
    public AttentionGradOp {
        operands(forward, dout, dqkv).check();
    }

    @Override
    public Operands operands() {
        return operands(forward, dout, dqkv);
    }

    private static Operands operands(AttentionOp forward, Tensor dout, Tensor dqkv) {
        return new Operands("attentionGrad")
                .read("qkv", forward.qkv(), "rows", "3a")
                .read("out", forward.out(), "rows", "a")
                .readF32("stats", forward.stats(), "rows", 2 * forward.heads() + "")
                .dropout(forward.dropout())
                .read("dout", dout, "rows", "a")
                .write("dqkv", dqkv, "rows", "3a");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.attentionGrad(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, forward.qkv());
    }
}
