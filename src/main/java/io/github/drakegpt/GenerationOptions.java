package io.github.drakegpt;

import io.github.drakegpt.ops.Sampling;
import java.util.concurrent.ThreadLocalRandom;

/**
 * How a {@link TextModel} draws characters. Immutable.
 *
 * <pre>{@code
 * GenerationOptions.builder().length(300).temperature(0.8f).topK(20).seed(7).build()
 * }</pre>
 */
public final class GenerationOptions {
    private final int length;
    private final Sampling sampling;
    private final Long seed; // null: another one every time

    private GenerationOptions(Builder builder) {
        this.length = builder.length;
        this.sampling = new Sampling(builder.temperature, builder.topK, builder.topP);
        this.seed = builder.seed;
        if (length < 0) {
            throw new IllegalArgumentException("A length of " + length + " is not possible; give 0 or more.");
        }
    }

    /**
     * Begins with the defaults: 500 characters, a temperature of 0.8, and the 40 most likely characters.
     *
     * @return a builder
     */
    public static Builder builder() {
        return new Builder();
    }

    int length() {
        return length;
    }

    Sampling sampling() {
        return sampling;
    }

    /** The seed that was chosen, or a new one. */
    long drawSeed() {
        return seed == null ? ThreadLocalRandom.current().nextLong() : seed;
    }

    /** Collects options; the defaults hold for those that are not set. */
    public static final class Builder {
        private int length = 500;
        private float temperature = 0.8f;
        private int topK = 40;
        private float topP = 1;
        private Long seed;

        private Builder() {}

        /**
         * Characters to draw.
         *
         * @param length 0 or more; 500 by default
         * @return this
         */
        public Builder length(int length) {
            this.length = length;
            return this;
        }

        /**
         * Divides the logits.
         *
         * @param temperature 0 always takes the most likely character, 1 draws from the model's own distribution; 0.8 by
         *     default
         * @return this
         */
        public Builder temperature(float temperature) {
            this.temperature = temperature;
            return this;
        }

        /**
         * Draws only from the k most likely characters.
         *
         * @param topK k, 40 by default; 0 for all
         * @return this
         */
        public Builder topK(int topK) {
            this.topK = topK;
            return this;
        }

        /**
         * Draws only from the most likely characters that together have this probability (nucleus sampling; Holtzman et al.,
         * 2020).
         *
         * @param topP above 0; 1, the default, for all
         * @return this
         */
        public Builder topP(float topP) {
            this.topP = topP;
            return this;
        }

        /**
         * Seed of the random numbers: the same one gives the same text.
         *
         * @param seed any; by default each text has another one
         * @return this
         */
        public Builder seed(long seed) {
            this.seed = seed;
            return this;
        }

        /**
         * Checks the options.
         *
         * @return the options
         * @throws IllegalArgumentException if one is not possible
         */
        public GenerationOptions build() {
            return new GenerationOptions(this);
        }
    }
}
