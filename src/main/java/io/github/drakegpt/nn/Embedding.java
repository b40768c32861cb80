package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.tensor.Tensor;

/** A row of a table for each token, plus, if there is a second table, a row for its position. */
public final class Embedding {
    private final Backend backend;
    private final int width;
    private final Parameter tokenTable; // (V, C)
    private final Parameter positionTable; // (T, C), or null
    private final Tensor position; // I32 (1), or null

    private Embedding(LayerContext context, int vocabSize, int contextLength, int width) {
        this.backend = context.backend();
        this.width = width;
        this.position = context.position();
        Init.Distribution init = context.init().embedding();
        this.tokenTable = context.parameters().add("token_embedding_table.weight", init, vocabSize, width);
        this.positionTable = contextLength == 0
                ? null
                : context.parameters().add("position_embedding_table.weight", init, contextLength, width);
    }

    /** Tokens only. */
    public static Embedding ofTokens(LayerContext context, int vocabSize, int width) {
        return new Embedding(context, vocabSize, 0, width);
    }

    /** Tokens and their positions. */
    public static Embedding ofTokensAndPositions(LayerContext context, int vocabSize, int contextLength, int width) {
        return new Embedding(context, vocabSize, contextLength, width);
    }

    /** Writes out (B, T, C) from tokens I32 (B, T). */
    public void forward(Tensor tokens, Tensor out, Pass pass) {
        backend.embedding(
                tokens,
                tokenTable.value(),
                positionTable == null ? null : positionTable.value(),
                pass.cached() ? position : null,
                out,
                pass.batch(),
                pass.length(),
                width);
    }

    /** Writes the tables' gradients from dout (B, T, C). */
    public void backward(Tensor tokens, Tensor dout, Pass pass) {
        backend.embeddingGrad(
                tokens,
                dout,
                tokenTable.grad(),
                positionTable == null ? null : positionTable.grad(),
                pass.batch(),
                pass.length(),
                width);
    }
}
