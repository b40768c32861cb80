package io.github.drakegpt.model;

import io.github.drakegpt.nn.LayerContext;
import java.util.List;

/** The six models, each after the one that it extends. */
public final class Models {
    public static final String BIGRAM = "BigramLM";
    public static final String SINGLE_HEAD = "SingleHeadAttentionLM";
    public static final String MULTI_HEAD = "MultiHeadAttentionLM";
    public static final String BLOCKS = "BlocksLM";
    public static final String RESIDUAL_BLOCKS = "ResidualBlocksLM";
    public static final String TRANSFORMER = "TransformerLM";

    /** All names, each model after the one that it extends. */
    public static final List<String> NAMES =
            List.of(BIGRAM, SINGLE_HEAD, MULTI_HEAD, BLOCKS, RESIDUAL_BLOCKS, TRANSFORMER);

    private Models() {}

    /** @throws IllegalArgumentException that lists the names, if this is none of them */
    public static void requireKnown(String name) {
        if (name == null || !NAMES.contains(name)) {
            throw new IllegalArgumentException(
                    "There is no model '" + name + "'; choose one of " + String.join(", ", NAMES) + ".");
        }
    }

    /** A few words on how the model extends the one before it. */
    public static String adds(String name) {
        return switch (name) {
            case BIGRAM -> "a table of which character follows which";
            case SINGLE_HEAD -> "one head of self-attention";
            case MULTI_HEAD -> "several heads side by side";
            case BLOCKS -> "layers of attention and feed-forward";
            case RESIDUAL_BLOCKS -> "residual connections, projection, wider feed-forward";
            case TRANSFORMER -> "layer norm and dropout";
            default -> throw new IllegalArgumentException(name);
        };
    }

    static LanguageModel build(ModelConfig config, LayerContext context) {
        return switch (config.name()) {
            case BIGRAM -> new BigramLM(config, context);
            case SINGLE_HEAD -> new SingleHeadAttentionLM(config, context);
            case MULTI_HEAD -> new MultiHeadAttentionLM(config, context);
            case BLOCKS -> new BlocksLM(config, context);
            case RESIDUAL_BLOCKS -> new ResidualBlocksLM(config, context);
            case TRANSFORMER -> new TransformerLM(config, context);
            default -> throw new IllegalArgumentException(config.name()); // ModelConfig has checked it
        };
    }
}
