package io.github.drakegpt.model;

import io.github.drakegpt.nn.Embedding;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.nn.Linear;
import io.github.drakegpt.nn.Pass;
import io.github.drakegpt.nn.ResidualBlock;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** As {@link BlocksLM}, with residual connections around attention and a wider feed-forward network. */
final class ResidualBlocksLM extends LanguageModel {
    private final Embedding embedding;
    private final List<ResidualBlock> blocks = new ArrayList<>();
    private final Linear lmHead;
    private final Tensor embedded; // (rows, C)
    private final Tensor grad; // (rows, C)
    private Tensor features;

    ResidualBlocksLM(ModelConfig config, LayerContext context) {
        super(config, context);
        int width = config.embeddingDim();
        embedding = Embedding.ofTokensAndPositions(context, config.vocabSize(), config.contextLength(), width);
        for (int i = 0; i < config.numLayers(); i++) {
            blocks.add(new ResidualBlock(context, "blocks." + i, width, config.numHeads(), config.numLayers()));
        }
        lmHead = new Linear(context, "lm_head", width, config.vocabSize());
        embedded = context.activation(width);
        grad = context.scratch("grad", width);
    }

    @Override
    public void forward(Pass pass) {
        embedding.forward(tokens(), embedded, pass);
        features = embedded;
        for (ResidualBlock block : blocks) {
            features = block.forward(features, pass);
        }
        lmHead.forward(features, logits(), pass.rows());
    }

    @Override
    void backward(Pass pass) {
        lmHead.backward(dlogits(), grad, pass.rows());
        for (int i = blocks.size() - 1; i >= 0; i--) {
            blocks.get(i).backward(grad, pass);
        }
        embedding.backward(tokens(), grad, pass);
    }
}
