package io.github.drakegpt.model;

import io.github.drakegpt.nn.Embedding;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;

/** A table: the logits of the next token are the row of the current one. It sees no earlier token. */
final class BigramLM extends LanguageModel {
    private final Embedding table;

    BigramLM(ModelConfig config, LayerContext context) {
        super(config, context);
        table = Embedding.ofTokens(context, config.vocabSize(), tokens(), output());
    }

    @Override
    public void forward(Operations ops, Pass pass) {
        table.forward(ops, pass);
    }

    @Override
    void backward(Operations ops, Pass pass) {
        table.backward(ops, pass);
    }
}
