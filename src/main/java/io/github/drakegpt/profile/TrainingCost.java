package io.github.drakegpt.profile;

import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.tensor.DType;

/**
 * The operations and memory that training a full-precision model takes by its definition, on any device: a baseline for
 * measured times and memory.
 *
 * <p>Letters: B sequences of a pass, T context, C channels, V vocabulary, L layers of attention, each of H heads with A
 * channels together.
 */
public final class TrainingCost {
    private static final int FORWARD_AND_BACKWARD =
            3; // a gradient for the input and one for the weight of each product

    private TrainingCost() {}

    /**
     * Multiplications and additions of a training step as PaLM (Chowdhery et al., 2022, appendix B) and nanoGPT count
     * them: (6 N + 12 L A T) B T, where N is the number of parameters without the embeddings of tokens and positions,
     * which are looked up and not multiplied. Like those, it counts attention as if each token saw all T, including the
     * half that causal kernels skip.
     *
     * @param sequences of a step
     */
    public static double flops(ModelConfig model, int sequences) {
        long multiplied = parameters(model, false);
        long perToken = FORWARD_AND_BACKWARD
                * (2 * multiplied + 4L * attentionLayers(model) * attentionWidth(model) * model.contextLength());
        return (double) perToken * sequences * model.contextLength();
    }

    /**
     * Bytes of parameters, gradients and AdamW's two moments, all F32, and of the results of the forward pass that the
     * backward pass reads: one of the inputs and outputs of each layer, the statistics of norms and softmaxes, logits,
     * tokens and targets. Dropout masks are drawn again, attention weights computed again.
     *
     * @param sequences of a pass
     * @param activations their type; statistics and logits are F32
     */
    public static long bytes(ModelConfig model, int sequences, DType activations) {
        int c = model.embeddingDim();
        int a = attentionWidth(model);
        int heads = model.name().equals(Models.SINGLE_HEAD) ? 1 : model.numHeads();
        int attention = 3 * a + a; // queries, keys and values; the heads' outputs
        int perLayer = switch (model.name()) {
            case Models.BIGRAM -> 0;
            case Models.SINGLE_HEAD, Models.MULTI_HEAD -> c + attention; // the embeddings
            case Models.BLOCKS -> c + attention; // the input: embeddings, or the output of the layer before
            case Models.RESIDUAL_BLOCKS -> 2 * c + attention + 4 * c; // the inputs of both parts; the ReLU's output
            case Models.TRANSFORMER -> 4 * c + attention + 4 * c; // and both inputs normalized
            default -> throw new IllegalArgumentException(model.name());
        };
        int statistics = 2 * heads + (model.name().equals(Models.TRANSFORMER) ? 4 : 0);
        int layers = attentionLayers(model);
        int last = switch (model.name()) {
            case Models.BLOCKS, Models.RESIDUAL_BLOCKS -> c; // the head's input
            case Models.TRANSFORMER -> model.finalNorm() ? 2 * c : c; // and the input of its norm
            default -> 0; // counted in the layer
        };
        int lastStatistics = model.name().equals(Models.TRANSFORMER) && model.finalNorm() ? 2 : 0;
        long perToken = (long) activations.bytes() * (layers * perLayer + last)
                + (long) DType.F32.bytes() * (layers * statistics + lastStatistics + model.vocabSize())
                + 2L * DType.I32.bytes();
        return 4L * DType.F32.bytes() * parameters(model, true) + perToken * sequences * model.contextLength();
    }

    private static long parameters(ModelConfig model, boolean withEmbeddings) {
        Parameters parameters = LanguageModel.parametersOf(model);
        return parameters.entries().stream()
                .filter(entry -> withEmbeddings || !entry.name().contains("embedding_table"))
                .mapToLong(entry -> entry.shape().size())
                .sum();
    }

    private static int attentionLayers(ModelConfig model) {
        return switch (model.name()) {
            case Models.BIGRAM -> 0;
            case Models.SINGLE_HEAD, Models.MULTI_HEAD -> 1;
            default -> model.numLayers();
        };
    }

    private static int attentionWidth(ModelConfig model) {
        return switch (model.name()) {
            case Models.SINGLE_HEAD, Models.MULTI_HEAD -> model.headSize();
            default -> model.embeddingDim();
        };
    }
}
