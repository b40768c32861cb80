package io.github.drakegpt.nn;

import io.github.drakegpt.ops.EmbeddingGradOp;
import io.github.drakegpt.ops.EmbeddingOp;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Tensor;

/** Looks up a row of a table for each token, and adds a row of a second table, if there is one, for its position. */
public final class Embedding {
    private final EmbeddingOp embedding;
    private final EmbeddingGradOp embeddingGrad; // or null

    private Embedding(LayerContext context, int vocabSize, int contextLength, Tensor tokens, Activation out) {
        int width = out.value().shape().columns();
        Init.Distribution init = context.init().embedding();
        Parameter tokenTable = context.parameters().add("token_embedding_table.weight", init, vocabSize, width);
        Parameter positionTable = contextLength == 0
                ? null
                : context.parameters().add("position_embedding_table.weight", init, contextLength, width);
        this.embedding = new EmbeddingOp(
                tokens,
                tokenTable.value(),
                positionTable == null ? null : positionTable.value(),
                context.position(),
                out.value());
        this.embeddingGrad = out.grad() == null
                ? null
                : new EmbeddingGradOp(
                        tokens, out.grad(), tokenTable.grad(), positionTable == null ? null : positionTable.grad());
    }

    /** Embeds tokens I32 (B, T) only. */
    public static Embedding ofTokens(LayerContext context, int vocabSize, Tensor tokens, Activation out) {
        return new Embedding(context, vocabSize, 0, tokens, out);
    }

    /** Embeds tokens I32 (B, T) and their positions. */
    public static Embedding ofTokensAndPositions(
            LayerContext context, int vocabSize, int contextLength, Tensor tokens, Activation out) {
        return new Embedding(context, vocabSize, contextLength, tokens, out);
    }

    /** Writes out (B, T, C) from the tokens. */
    public void forward(Operations ops, Pass pass) {
        ops.embedding(embedding, pass);
    }

    /** Writes the tables' gradients from that of out. */
    public void backward(Operations ops, Pass pass) {
        ops.embeddingGrad(embeddingGrad, pass);
    }
}
