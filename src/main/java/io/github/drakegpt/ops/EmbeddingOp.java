package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Embeddings: out[b, t] = wte[tokens[b, t]] + wpe[first + t], where first is the position in a
 * {@linkplain Pass#cached cached} pass, and 0 in others.
 *
 * @param tokens I32 (B, T), from 0 to V - 1; the row of another one is NaN where it cannot be reported, as on a GPU
 * @param wte (V, C)
 * @param wpe (context, C), or null
 * @param position I32 (1); null if no pass is cached
 * @param out (B, T, C)
 */
public record EmbeddingOp(Tensor tokens, Tensor wte, Tensor wpe, Tensor position, Tensor out) implements Operation {
    /** Checks the operands. */
    public EmbeddingOp {
        operands(tokens, wte, wpe, position, out).check();
    }

    @Override
    public Operands operands() {
        return operands(tokens, wte, wpe, position, out);
    }

    private static Operands operands(Tensor tokens, Tensor wte, Tensor wpe, Tensor position, Tensor out) {
        return new Operands("embedding")
                .readI32("tokens", tokens, "rows")
                .readF32("wte", wte, "v", "c")
                .readF32("wpe", wpe, "context", "c")
                .readI32("position", position, "1")
                .write("out", out, "rows", "c");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.embedding(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, tokens.size());
    }

    /** V. */
    public int vocabSize() {
        return wte.shape().dim(0);
    }

    /** C. */
    public int columns() {
        return out.shape().columns();
    }
}
