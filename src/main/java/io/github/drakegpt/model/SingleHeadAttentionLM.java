package io.github.drakegpt.model;

import io.github.drakegpt.nn.CausalSelfAttention;
import io.github.drakegpt.nn.Embedding;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.nn.Linear;
import io.github.drakegpt.nn.Pass;
import io.github.drakegpt.tensor.Tensor;

/** Embeddings of token and position, one head of self-attention, a linear layer: a token sees those before it. */
final class SingleHeadAttentionLM extends LanguageModel {
    private final Embedding embedding;
    private final CausalSelfAttention attention;
    private final Linear lmHead;
    private final Tensor embedded; // (rows, C)
    private final Tensor dheads; // (rows, head size)
    private final Tensor grad; // (rows, C)
    private Tensor heads;

    SingleHeadAttentionLM(ModelConfig config, LayerContext context) {
        super(config, context);
        int width = config.embeddingDim();
        embedding = Embedding.ofTokensAndPositions(context, config.vocabSize(), config.contextLength(), width);
        attention = CausalSelfAttention.singleHead(context, "sa_head", width, config.headSize());
        lmHead = new Linear(context, "lm_head", config.headSize(), config.vocabSize());
        embedded = context.activation(width);
        dheads = context.scratch("dheads", config.headSize());
        grad = context.scratch("grad", width);
    }

    @Override
    public void forward(Pass pass) {
        embedding.forward(tokens(), embedded, pass);
        heads = attention.forward(embedded, pass);
        lmHead.forward(heads, logits(), pass.rows());
    }

    @Override
    void backward(Pass pass) {
        lmHead.backward(dlogits(), dheads, pass.rows());
        attention.backward(dheads, grad, pass);
        embedding.backward(tokens(), grad, pass);
    }
}
