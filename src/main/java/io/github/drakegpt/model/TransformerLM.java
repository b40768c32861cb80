package io.github.drakegpt.model;

import io.github.drakegpt.nn.Activation;
import io.github.drakegpt.nn.Embedding;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.nn.LayerNorm;
import io.github.drakegpt.nn.Linear;
import io.github.drakegpt.nn.ResidualStream;
import io.github.drakegpt.nn.TransformerBlock;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.ZeroOp;
import java.util.ArrayList;
import java.util.List;

/** {@link ResidualBlocksLM} with layer norm before each part and dropout: the decoder of a GPT. */
final class TransformerLM extends LanguageModel {
    private final Embedding embedding;
    private final List<TransformerBlock> blocks = new ArrayList<>();
    private final ResidualStream stream;
    private final LayerNorm finalNorm; // or null
    private final ZeroOp zeroGrad; // or null
    private final Linear lmHead;

    TransformerLM(ModelConfig config, LayerContext context) {
        super(config, context);
        int width = config.embeddingDim();
        Activation embedded = new Activation(context.activation(width), context.gradient("grad", width));
        embedding =
                Embedding.ofTokensAndPositions(context, config.vocabSize(), config.contextLength(), tokens(), embedded);
        TransformerBlock.Form form =
                new TransformerBlock.Form(config.numHeads(), config.numLayers(), config.dropout(), config.subNorm());
        ResidualStream behind = ResidualStream.of(embedded);
        for (int i = 0; i < config.numLayers(); i++) {
            TransformerBlock block = new TransformerBlock(context, "blocks." + i, behind, form);
            blocks.add(block);
            behind = block.out();
        }
        stream = behind;
        if (config.finalNorm()) {
            Activation normed = new Activation(context.activation("normed", width), context.gradient("branch", width));
            finalNorm = stream.normed(context, "ln_f", normed);
            zeroGrad = embedded.grad() == null ? null : new ZeroOp(embedded.grad());
            lmHead = Linear.plain(context, "lm_head", normed, output());
        } else {
            finalNorm = null;
            zeroGrad = null;
            LayerNorm.declareUnused(context, "ln_f", width);
            lmHead = Linear.plain(context, "lm_head", stream.value(), output());
        }
    }

    @Override
    public void forward(Operations ops, Pass pass) {
        embedding.forward(ops, pass);
        for (TransformerBlock block : blocks) {
            block.forward(ops, pass);
        }
        if (finalNorm == null) {
            stream.forward(ops, pass);
        } else {
            finalNorm.forward(ops, pass);
        }
        lmHead.forward(ops, pass);
    }

    @Override
    void backward(Operations ops, Pass pass) {
        lmHead.backward(ops, pass);
        if (finalNorm == null) {
            stream.backward(ops, pass);
        } else {
            ops.zero(zeroGrad, pass);
            finalNorm.backward(ops, pass);
        }
        for (int i = blocks.size() - 1; i >= 0; i--) {
            blocks.get(i).backward(ops, pass);
        }
        embedding.backward(ops, pass);
    }
}
