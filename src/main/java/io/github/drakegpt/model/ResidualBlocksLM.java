package io.github.drakegpt.model;

import io.github.drakegpt.nn.Activation;
import io.github.drakegpt.nn.Embedding;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.nn.Linear;
import io.github.drakegpt.nn.ResidualBlock;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;
import java.util.ArrayList;
import java.util.List;

/** {@link BlocksLM} with residual connections around attention and a wider feed-forward network. */
final class ResidualBlocksLM extends LanguageModel {
    private final Embedding embedding;
    private final List<ResidualBlock> blocks = new ArrayList<>();
    private final Linear lmHead;

    ResidualBlocksLM(ModelConfig config, LayerContext context) {
        super(config, context);
        int width = config.embeddingDim();
        Activation embedded = new Activation(context.activation(width), context.gradient("grad", width));
        embedding =
                Embedding.ofTokensAndPositions(context, config.vocabSize(), config.contextLength(), tokens(), embedded);
        Activation features = embedded;
        for (int i = 0; i < config.numLayers(); i++) {
            ResidualBlock block =
                    new ResidualBlock(context, "blocks." + i, features, config.numHeads(), config.numLayers());
            blocks.add(block);
            features = block.out();
        }
        lmHead = Linear.plain(context, "lm_head", features, output());
    }

    @Override
    public void forward(Operations ops, Pass pass) {
        embedding.forward(ops, pass);
        for (ResidualBlock block : blocks) {
            block.forward(ops, pass);
        }
        lmHead.forward(ops, pass);
    }

    @Override
    void backward(Operations ops, Pass pass) {
        lmHead.backward(ops, pass);
        for (int i = blocks.size() - 1; i >= 0; i--) {
            blocks.get(i).backward(ops, pass);
        }
        embedding.backward(ops, pass);
    }
}
