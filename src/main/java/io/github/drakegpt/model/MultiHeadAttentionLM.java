package io.github.drakegpt.model;

import io.github.drakegpt.nn.CausalSelfAttention;
import io.github.drakegpt.nn.Embedding;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.nn.Linear;
import io.github.drakegpt.nn.Pass;
import io.github.drakegpt.tensor.Tensor;

/** As {@link SingleHeadAttentionLM}, with several smaller heads side by side: a token can look for several things. */
final class MultiHeadAttentionLM extends LanguageModel {
    private final Embedding embedding;
    private final CausalSelfAttention attention;
    private final Linear lmHead;
    private final Tensor embedded; // (rows, C)
    private final Tensor dheads; // (rows, head size)
    private final Tensor grad; // (rows, C)
    private Tensor heads;

    MultiHeadAttentionLM(ModelConfig config, LayerContext context) {
        super(config, context);
        int width = config.embeddingDim();
        int perHead = config.headSize() / config.numHeads();
        embedding = Embedding.ofTokensAndPositions(context, config.vocabSize(), config.contextLength(), width);
        attention = CausalSelfAttention.multiHead(context, "sa_head", width, config.numHeads(), perHead, 0);
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
