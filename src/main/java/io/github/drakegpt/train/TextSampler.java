package io.github.drakegpt.train;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.model.Generator;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.ops.Sampling;

/**
 * Texts to judge models by: each begins with the empty prompt, and is drawn with plain sampling from the same random
 * numbers.
 */
public final class TextSampler implements AutoCloseable {
    private static final long SEED = 42;

    private final Generator generator;
    private final CharTokenizer tokenizer;

    public TextSampler(Backend backend, Weights weights, CharTokenizer tokenizer) {
        this.generator = new Generator(backend, weights);
        this.tokenizer = tokenizer;
    }

    /** Continues with other weights of the same model. */
    void setWeights(Weights weights) {
        generator.setWeights(weights);
    }

    /**
     * Draws a text.
     *
     * @param length in characters
     */
    public String sample(int length) {
        StringBuilder text = new StringBuilder();
        generator.generate(
                tokenizer.emptyPrompt(),
                length,
                Sampling.PLAIN,
                SEED,
                0,
                true,
                token -> text.append(tokenizer.decode(token)));
        return text.toString();
    }

    @Override
    public void close() {
        generator.close();
    }
}
