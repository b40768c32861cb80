package io.github.drakegpt.model;

import io.github.drakegpt.nn.Activation;
import io.github.drakegpt.nn.CausalSelfAttention;
import io.github.drakegpt.nn.Embedding;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.nn.Linear;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;

/** {@link SingleHeadAttentionLM} with several smaller heads in parallel: a token can attend to several things. */
final class MultiHeadAttentionLM extends LanguageModel {
    private final Embedding embedding;
    private final CausalSelfAttention attention;
    private final Linear lmHead;

    MultiHeadAttentionLM(ModelConfig config, LayerContext context) {
        super(config, context);
        int width = config.embeddingDim();
        Activation embedded = new Activation(context.activation(width), context.gradient("grad", width));
        embedding =
                Embedding.ofTokensAndPositions(context, config.vocabSize(), config.contextLength(), tokens(), embedded);
        attention = CausalSelfAttention.multiHead(
                context, "sa_head", embedded, config.numHeads(), config.headSize() / config.numHeads(), 0);
        lmHead = Linear.plain(context, "lm_head", attention.out(), output());
    }

    @Override
    public void forward(Operations ops, Pass pass) {
        embedding.forward(ops, pass);
        attention.forward(ops, pass);
        lmHead.forward(ops, pass);
    }

    @Override
    void backward(Operations ops, Pass pass) {
        lmHead.backward(ops, pass);
        attention.backward(ops, pass);
        embedding.backward(ops, pass);
    }
}
