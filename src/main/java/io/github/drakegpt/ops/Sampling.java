package io.github.drakegpt.ops;

/**
 * Settings for drawing the next token from the logits.
 *
 * @param temperature divides the logits; 0: always the most likely token
 * @param topK only the k most likely tokens can be drawn; 0: all
 * @param topP only the most likely tokens that together reach this probability can be drawn (Holtzman et al., "The
 *     Curious Case of Neural Text Degeneration", 2020); 1: all
 */
public record Sampling(float temperature, int topK, float topP) {
    /** Plain sampling from the model's distribution. */
    public static final Sampling PLAIN = new Sampling(1, 0, 1);

    /** Checks the ranges. */
    public Sampling {
        if (!(temperature >= 0) || Float.isInfinite(temperature)) {
            throw new IllegalArgumentException(
                    "A temperature of " + temperature + " is not possible; give a number of 0 or more.");
        }
        if (topK < 0) {
            throw new IllegalArgumentException("A top-k of " + topK + " is not possible; give 0 for all, or more.");
        }
        if (!(topP > 0 && topP <= 1)) {
            throw new IllegalArgumentException(
                    "A top-p of " + topP + " is not possible; give a probability above 0 and up to 1.");
        }
    }
}
