package io.github.drakegpt.model;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.tensor.Arena;
import java.util.Arrays;
import java.util.function.IntConsumer;
import java.util.function.IntPredicate;

/**
 * Continues a sequence of tokens. The model sees the last T tokens at positions 0, 1, ...: until there are T, each new
 * token takes one row of computation, with cached keys and values. From then on every token shifts all positions, which
 * makes the cache invalid, so the whole window is computed again.
 *
 * <p>Any thread may call any method at any time; calls wait for each other, {@link #close} too, and after that throw an
 * {@link IllegalStateException}, as calls by a sink do.
 */
public final class Generator implements AutoCloseable {
    private final Backend backend;
    private final Arena arena;
    private final LanguageModel model;
    private final Turns turns = new Turns("generator");
    private final int contextLength;
    private Decoder decoder; // reused while sampling and seed stay the same; null at first

    public Generator(Backend backend, Weights weights) {
        this(backend, weights.config(), null);
        try {
            model.load(weights);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    /** Shares the weights of another model, which was not built for training and must outlive it. */
    public Generator(Backend backend, LanguageModel sharing) {
        this(backend, sharing.config(), sharing);
    }

    private Generator(Backend backend, ModelConfig config, LanguageModel sharing) {
        this.backend = backend;
        this.arena = backend.newArena();
        this.contextLength = config.contextLength();
        try {
            this.model = LanguageModel.forGeneration(config, backend, arena, 1, sharing);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    /** Continues with other weights of the same model. */
    public void setWeights(Weights weights) {
        turns.take(() -> model.load(weights));
    }

    /**
     * Draws tokens.
     *
     * @param prompt at least one token
     * @param length how many tokens to draw
     * @param seed and {@code sample}: token i of sample n is drawn with number n of step i of the seed's stream
     * @param cached whether to use the cache while it is exact; the tokens are the same without, up to rounding
     * @param sink receives the tokens in order, as many at a time as the device draws at once
     * @throws IllegalArgumentException if the prompt is empty or the length negative
     */
    public void generate(
            int[] prompt, int length, Sampling sampling, long seed, int sample, boolean cached, IntConsumer sink) {
        generateWhile(prompt, length, sampling, seed, sample, cached, token -> {
            sink.accept(token);
            return true;
        });
    }

    /** The same, except that it ends early once the sink returns false. */
    public void generateWhile(
            int[] prompt, int length, Sampling sampling, long seed, int sample, boolean cached, IntPredicate sink) {
        if (prompt.length == 0) {
            throw new IllegalArgumentException("There is no prompt to continue; give at least one character.");
        }
        if (length < 0) {
            throw new IllegalArgumentException("A length of " + length + " is not possible; give 0 or more.");
        }
        turns.take(() -> draw(prompt, length, sampling, seed, sample, cached, sink));
    }

    private void draw(
            int[] prompt, int length, Sampling sampling, long seed, int sample, boolean cached, IntPredicate sink) {
        if (decoder == null || !decoder.draws(sampling, seed)) {
            closeDecoder();
            decoder = new Decoder(backend, model, 1, sampling, seed);
        }
        int[] window = new int[contextLength];
        int filled = Math.min(prompt.length, contextLength);
        System.arraycopy(prompt, prompt.length - filled, window, 0, filled);
        int inCache = 0;
        boolean shifted = false;
        Pass before = null;
        for (int drawn = 0; drawn < length; ) {
            boolean useCache = cached && !shifted;
            int rows = useCache ? filled - inCache : filled;
            Pass pass = useCache ? Pass.generation(1, rows) : Pass.evaluation(1, rows);
            if (!pass.equals(before)) {
                decoder.place(Arrays.copyOfRange(window, filled - rows, filled), inCache, drawn, sample);
                before = pass;
            }
            int alike = 1; // passes of this shape, from this one on
            if (useCache && rows == 1) {
                alike = contextLength - inCache;
            } else if (!useCache && rows == contextLength) {
                alike = Integer.MAX_VALUE;
            }
            for (int token : decoder.draw(pass, Math.min(alike, length - drawn))) {
                if (!sink.test(token)) {
                    return;
                }
                drawn++;
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
    }

    private void closeDecoder() {
        if (decoder != null) {
            decoder.close();
            decoder = null;
        }
    }

    @Override
    public void close() {
        turns.end(() -> {
            closeDecoder();
            arena.close();
        });
    }
}
