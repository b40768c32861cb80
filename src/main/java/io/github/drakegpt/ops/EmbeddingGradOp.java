package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Gradients of an {@link EmbeddingOp} at position 0.
 *
 * @param tokens I32 (B, T)
 * @param dout (B, T, C)
 * @param dwte (V, C), F32
 * @param dwpe (context, C), F32, or null
 */
public record EmbeddingGradOp(Tensor tokens, Tensor dout, Tensor dwte, Tensor dwpe) implements Operation {
    /** Checks the operands. */
    public EmbeddingGradOp {
        operands(tokens, dout, dwte, dwpe).check();
    }

    @Override
    public Operands operands() {
        return operands(tokens, dout, dwte, dwpe);
    }

    private static Operands operands(Tensor tokens, Tensor dout, Tensor dwte, Tensor dwpe) {
        return new Operands("embeddingGrad")
                .readI32("tokens", tokens, "rows")
                .read("dout", dout, "rows", "c")
                .sum("dwte", dwte, "v", "c")
                .sum("dwpe", dwpe, "context", "c");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.embeddingGrad(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, tokens.size());
    }

    /** V. */
    public int vocabSize() {
        return dwte.shape().dim(0);
    }

    /** C. */
    public int columns() {
        return dout.shape().columns();
    }
}
