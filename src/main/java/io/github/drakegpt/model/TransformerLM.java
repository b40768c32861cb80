package io.github.drakegpt.model;

import io.github.drakegpt.nn.Embedding;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.nn.LayerNorm;
import io.github.drakegpt.nn.Linear;
import io.github.drakegpt.nn.Pass;
import io.github.drakegpt.nn.TransformerBlock;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** As {@link ResidualBlocksLM}, with layer norm before each part and dropout: the decoder of a GPT. */
final class TransformerLM extends LanguageModel {
    private final Embedding embedding;
    private final List<TransformerBlock> blocks = new ArrayList<>();
    private final LayerNorm finalNorm; // or null
    private final Linear lmHead;
    private final Tensor embedded; // (rows, C)
    private final Tensor grad; // (rows, C)
    private final Tensor dnormed; // (rows, C)
    private Tensor features;

    TransformerLM(ModelConfig config, LayerContext context) {
        super(config, context);
        int width = config.embeddingDim();
        embedding = Embedding.ofTokensAndPositions(context, config.vocabSize(), config.contextLength(), width);
        for (int i = 0; i < config.numLayers(); i++) {
            blocks.add(new TransformerBlock(
                    context,
                    "blocks." + i,
                    width,
                    config.numHeads(),
                    config.numLayers(),
                    config.dropout(),
                    config.subNorm()));
        }
        if (config.finalNorm()) {
            finalNorm = new LayerNorm(context, "ln_f", width);
        } else {
            finalNorm = null;
            LayerNorm.declareUnused(context, "ln_f", width);
        }
        lmHead = new Linear(context, "lm_head", width, config.vocabSize());
        embedded = context.activation(width);
        grad = context.scratch("grad", width);
        dnormed = context.scratch("branch", width);
    }

    @Override
    public void forward(Pass pass) {
        embedding.forward(tokens(), embedded, pass);
        blocks.get(0).firstNorm().forward(embedded, pass.rows());
        features = embedded;
        for (int i = 0; i < blocks.size(); i++) {
            features = blocks.get(i).forward(features, normAfter(i), pass);
        }
        lmHead.forward(finalNorm == null ? features : finalNorm.out(), logits(), pass.rows());
    }

    @Override
    void backward(Pass pass) {
        int rows = pass.rows();
        if (finalNorm == null) {
            lmHead.backward(dlogits(), grad, rows);
        } else {
            lmHead.backward(dlogits(), dnormed, rows);
            backend().zero(grad, rows * config().embeddingDim());
        }
        for (int i = blocks.size() - 1; i >= 0; i--) {
            blocks.get(i).backward(normAfter(i), grad, dnormed, pass);
        }
        blocks.get(0).firstNorm().backward(embedded, dnormed, grad, rows);
        embedding.backward(tokens(), grad, pass);
    }

    /** The norm of the output of a block: the next one's first, or the model's last, or null. */
    private LayerNorm normAfter(int block) {
        return block + 1 < blocks.size() ? blocks.get(block + 1).firstNorm() : finalNorm;
    }
}
