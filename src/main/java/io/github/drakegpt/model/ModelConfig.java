package io.github.drakegpt.model;

import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.annotation.JsonNaming;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.quant.Quantization;

/**
 * Kind and sizes of a model.
 *
 * @param name one of {@link Models#NAMES}
 * @param vocabSize V, number of different tokens
 * @param contextLength T, the most tokens that a prediction can look back at, itself included
 * @param embeddingDim C, channels of the residual stream
 * @param headSize channels of the only head of SingleHeadAttentionLM, and of all heads of MultiHeadAttentionLM
 *     together; the other models have heads of C / H
 * @param numHeads H
 * @param numLayers L, number of blocks
 * @param dropout probability, 0 to below 1; only TransformerLM drops anything
 * @param finalNorm whether TransformerLM normalizes before its last layer; the original code has that norm but never
 *     applies it
 * @param init how weights are initialized
 * @param quant how TransformerLM's attention and feed-forward weights are rounded
 * @param subNorm whether TransformerLM has an RMS norm before each of the layers that end a residual branch, as models
 *     trained with rounded weights should (Wang et al., "BitNet b1.58 2B4T Technical Report", 2025)
 */
@JsonNaming(PropertyNamingStrategies.SnakeCaseStrategy.class)
public record ModelConfig(
        String name,
        int vocabSize,
        int contextLength,
        int embeddingDim,
        int headSize,
        int numHeads,
        int numLayers,
        float dropout,
        boolean finalNorm,
        Init init,
        Quantization quant,
        boolean subNorm) {

    /**
     * Checks every setting that the model uses.
     *
     * @throws IllegalArgumentException in one sentence that names the setting
     */
    public ModelConfig {
        Models.requireKnown(name);
        quant = quant == null ? Quantization.NONE : quant; // missing in runs older than quantization
        if (quant != Quantization.NONE && !name.equals(Models.TRANSFORMER)) {
            throw new IllegalArgumentException("model.quant is " + quant.label() + ", and only " + Models.TRANSFORMER
                    + " can be quantized; set it to none, or train that model.");
        }
        if (subNorm && !name.equals(Models.TRANSFORMER)) {
            throw new IllegalArgumentException("model.sub_norm is true, and only " + Models.TRANSFORMER
                    + " has such norms; set it to false, or train that model.");
        }
        if (init == null) {
            throw new IllegalArgumentException("model.init is missing; set it to pytorch or gpt2.");
        }
        within("vocab_size", vocabSize, 1 << 16);
        within("context_length", contextLength, 1 << 15);
        within("embedding_dim", embeddingDim, 1 << 16);
        within("head_size", headSize, 1 << 16);
        within("num_heads", numHeads, 1 << 10);
        within("num_layers", numLayers, 1 << 10);
        if (!(dropout >= 0 && dropout < 1)) {
            throw new IllegalArgumentException(
                    "model.dropout is " + dropout + "; set it to a probability from 0 up to, but not, 1.");
        }
        switch (name) {
            case Models.MULTI_HEAD -> divides("head_size", headSize, numHeads);
            case Models.BLOCKS, Models.RESIDUAL_BLOCKS, Models.TRANSFORMER ->
                divides("embedding_dim", embeddingDim, numHeads);
            default -> {}
        }
    }

    /** The same configuration with another quantization. */
    public ModelConfig withQuant(Quantization other) {
        return new ModelConfig(
                name,
                vocabSize,
                contextLength,
                embeddingDim,
                headSize,
                numHeads,
                numLayers,
                dropout,
                finalNorm,
                init,
                other,
                subNorm);
    }

    private static void within(String key, int value, int most) {
        if (value < 1 || value > most) {
            throw new IllegalArgumentException(
                    "model." + key + " is " + value + "; set it to a number from 1 to " + most + ".");
        }
    }

    private static void divides(String key, int value, int heads) {
        if (value % heads != 0) {
            throw new IllegalArgumentException("model." + key + " (" + value
                    + ") cannot be divided among model.num_heads (" + heads + "); set one of them to fit.");
        }
    }
}
