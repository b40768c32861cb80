package io.github.drakegpt.profile;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.model.Decoder;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.tensor.Arena;
import java.util.Arrays;

/** Continues several prompts at once, step by step, so that each step can be timed. */
final class BatchDecoder implements AutoCloseable {
    private static final long SEED = 42;

    private final Arena arena;
    private final LanguageModel model;
    private final Decoder decoder;
    private final int batch;
    private final int[] prompts; // (B, T - 1)
    private final Pass prefill;
    private final Pass decode;
    private int[] last; // I32 (B), the last drawn tokens
    private int position;
    private int steps;

    /** @param tokens from which prompts are cut, one after another and from the start again */
    BatchDecoder(Backend backend, Weights weights, int batch, int[] tokens) {
        this.arena = backend.newArena();
        this.batch = batch;
        try {
            this.model = LanguageModel.forGeneration(weights.config(), backend, arena, batch, null);
            model.load(weights);
            this.decoder = new Decoder(backend, model, batch, Sampling.PLAIN, SEED);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
        this.prompts = new int[batch * promptLength()];
        for (int i = 0; i < prompts.length; i++) {
            prompts[i] = tokens[i % tokens.length];
        }
        this.prefill = Pass.generation(batch, promptLength());
        this.decode = Pass.generation(batch, 1);
        this.last = Arrays.copyOf(prompts, batch);
        this.position = promptLength();
    }

    /** Tokens of a prompt: the context, except for the place of the drawn token. */
    int promptLength() {
        return Math.max(1, model.config().contextLength() - 1);
    }

    /** Tokens of each sequence that {@link #decode} draws. */
    int passesPerLaunch() {
        return decoder.passesPerLaunch(decode);
    }

    /** Reads the prompts and draws the first token of each. */
    void prefill() {
        decoder.place(prompts, 0, steps, 0);
        last = decoder.draw(prefill, 1);
        steps++;
        position = promptLength();
    }

    /**
     * Draws the next tokens of each sequence, after those of the call before; starts again at the beginning of the
     * context when no more fit, and after {@link #prefill}.
     */
    void decode() {
        if (position + passesPerLaunch() > promptLength()) {
            position = 0;
            decoder.place(Arrays.copyOfRange(last, last.length - batch, last.length), position, steps, 0);
        }
        last = decoder.draw(decode, passesPerLaunch());
        position += passesPerLaunch();
        steps += passesPerLaunch();
    }

    /** Bytes of weights, activations and cache. */
    long bytes() {
        return arena.bytes() + decoder.bytes();
    }

    @Override
    public void close() {
        decoder.close();
        arena.close();
    }
}
