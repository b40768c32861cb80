package io.github.drakegpt.profile;

import io.github.drakegpt.backend.Arena;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Sampling;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.nn.Pass;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;

/** Continues several prompts at once, step by step, so that each step can be timed. */
final class BatchDecoder implements AutoCloseable {
    private static final long SEED = 42;

    private final Backend backend;
    private final Arena arena;
    private final LanguageModel model;
    private final int batch;
    private final int[] prompts; // (B, T - 1)
    private final Tensor step; // I32 (1)
    private final Tensor drawn; // I32 (B)
    private final RandomStream stream;
    private final Runnable prefill;
    private final Runnable decode;
    private int steps;

    /** @param tokens from which prompts are cut, one after another and from the start again */
    BatchDecoder(Backend backend, Weights weights, int batch, int[] tokens) {
        this.backend = backend;
        this.arena = backend.newArena();
        this.batch = batch;
        try {
            this.model = LanguageModel.forGeneration(weights.config(), backend, arena, batch, null);
            this.step = arena.allocate(DType.I32, Shape.of(1));
            this.drawn = arena.allocate(DType.I32, Shape.of(batch));
            model.load(weights);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
        this.prompts = new int[batch * promptLength()];
        for (int i = 0; i < prompts.length; i++) {
            prompts[i] = tokens[i % tokens.length];
        }
        this.stream = new RandomStream(SEED, RandomStream.SAMPLE, step);
        this.prefill = recorded(promptLength());
        this.decode = recorded(1);
    }

    private Runnable recorded(int length) {
        Pass pass = Pass.generation(batch, length);
        return backend.record(arena, () -> {
            model.forward(pass);
            backend.sample(
                    model.logits(),
                    Sampling.PLAIN,
                    stream,
                    0,
                    drawn,
                    batch,
                    length,
                    model.config().vocabSize());
        });
    }

    /** Tokens of a prompt: the context, but for the place of the token that is drawn. */
    int promptLength() {
        return Math.max(1, model.config().contextLength() - 1);
    }

    /** Reads the prompts and draws the first token of each. */
    void prefill() {
        run(prefill, 0, prompts);
    }

    /** Draws the next token of each sequence, the last ones of which stand at {@code position}. */
    void decode(int position) {
        run(decode, position, drawn.toInts());
    }

    private void run(Runnable work, int position, int[] tokens) {
        model.tokens().write(tokens);
        model.position().write(position);
        step.write(steps++);
        work.run();
        drawn.toInts(); // waits until they are drawn
    }

    /** Bytes of weights, activations and cache. */
    long bytes() {
        return arena.bytes();
    }

    @Override
    public void close() {
        arena.close();
    }
}
