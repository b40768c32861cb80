package io.github.drakegpt.model;

import io.github.drakegpt.nn.Block;
import io.github.drakegpt.nn.Embedding;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.nn.Linear;
import io.github.drakegpt.nn.Pass;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** Several layers of attention and feed-forward, one behind the other. */
final class BlocksLM extends LanguageModel {
    private final Embedding embedding;
    private final List<Block> blocks = new ArrayList<>();
    private final Linear lmHead;
    private final Tensor embedded; // (rows, C)
    private final Tensor grad; // (rows, C)
    private Tensor features;

    BlocksLM(ModelConfig config, LayerContext context) {
        super(config, context);
        int width = config.embeddingDim();
        embedding = Embedding.ofTokensAndPositions(context, config.vocabSize(), config.contextLength(), width);
        for (int i = 0; i < config.numLayers(); i++) {
            blocks.add(new Block(context, "blocks." + i, width, config.numHeads()));
        }
        lmHead = new Linear(context, "lm_head", width, config.vocabSize());
        embedded = context.activation(width);
        grad = context.scratch("grad", width);
    }

    @Override
    public void forward(Pass pass) {
        embedding.forward(tokens(), embedded, pass);
        features = embedded;
        for (Block block : blocks) {
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
