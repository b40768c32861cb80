package io.github.drakegpt.model;

import io.github.drakegpt.backend.Arena;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Sampling;
import io.github.drakegpt.nn.Pass;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.function.IntConsumer;

/**
 * Continues a sequence of tokens. The model sees the last T tokens at positions 0, 1, ...: until there are T, each new
 * token needs one row of computation with a cache of keys and values; from then on every token shifts all positions, so
 * that the cache would be wrong and the whole window is computed again.
 */
public final class Generator implements AutoCloseable {
    private final Backend backend;
    private final Arena arena;
    private final LanguageModel model;
    private final int contextLength;
    private final Tensor step; // I32 (1): the number of the token that is drawn
    private final Tensor drawn; // I32 (1)
    private final Map<Pass, Runnable> forwards = new HashMap<>(); // recorded, one for each shape

    public Generator(Backend backend, Weights weights) {
        this.backend = backend;
        this.arena = backend.newArena();
        this.contextLength = weights.config().contextLength();
        try {
            this.model = LanguageModel.forGeneration(weights.config(), backend, arena, 1, null);
            this.step = arena.allocate(DType.I32, Shape.of(1));
            this.drawn = arena.allocate(DType.I32, Shape.of(1));
            model.load(weights);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    /**
     * Draws tokens one by one.
     *
     * @param prompt at least one token
     * @param length how many tokens to draw
     * @param seed and {@code sample}: token i of sample n is drawn with number n of step i of the seed's stream
     * @param cached whether to use the cache while it is exact; the tokens are the same without, up to rounding
     * @param sink is given each token as soon as it is drawn
     * @throws IllegalArgumentException if the prompt is empty or the length negative
     */
    public void generate(
            int[] prompt, int length, Sampling sampling, long seed, int sample, boolean cached, IntConsumer sink) {
        if (prompt.length == 0) {
            throw new IllegalArgumentException("There is no prompt to continue; give at least one character.");
        }
        if (length < 0) {
            throw new IllegalArgumentException("A length of " + length + " is not possible; give 0 or more.");
        }
        RandomStream stream = new RandomStream(seed, RandomStream.SAMPLE, step);
        int[] window = new int[contextLength];
        int filled = Math.min(prompt.length, contextLength);
        System.arraycopy(prompt, prompt.length - filled, window, 0, filled);
        int inCache = 0;
        boolean shifted = false;
        for (int i = 0; i < length; i++) {
            boolean useCache = cached && !shifted;
            int rows = useCache ? filled - inCache : filled;
            Pass pass = useCache ? Pass.generation(1, rows) : Pass.evaluation(1, rows);
            model.tokens().write(Arrays.copyOfRange(window, filled - rows, filled));
            model.position().write(inCache);
            forwards.computeIfAbsent(pass, p -> backend.record(arena, () -> model.forward(p)))
                    .run();
            step.write(i);
            backend.sample(
                    model.logits(),
                    sampling,
                    stream,
                    sample,
                    drawn,
                    1,
                    rows,
                    model.config().vocabSize());
            int token = drawn.toInts()[0];
            sink.accept(token);
            inCache = filled;
            if (filled == contextLength) {
                System.arraycopy(window, 1, window, 0, contextLength - 1);
                window[contextLength - 1] = token;
                shifted = true;
            } else {
                window[filled++] = token;
            }
        }
    }

    @Override
    public void close() {
        arena.close();
    }
}
