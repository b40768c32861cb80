package io.github.drakegpt.model;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.ops.AppendOp;
import io.github.drakegpt.ops.IncrementOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.ops.SampleOp;
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Draws tokens with a model: a pass, a draw, and the drawn token becomes the input of the next pass. All of that
 * happens on the device, so that several passes can be queued at once; the host reads their tokens together.
 */
public final class Decoder implements AutoCloseable {
    /** Approximate floating-point operations of a forward pass for each parameter and token. */
    private static final double FLOPS = 2;
    /** Most windows that follow one another: those of a long text. */
    private static final int WINDOWS = 1000;

    private final Backend backend;
    private final LanguageModel model;
    private final int batch;
    private final Sampling sampling;
    private final RandomStream stream;
    private final Arena arena;
    private final Tensor step; // I32 (1): the number of the next token
    private final Tensor firstSequence; // I32 (1)
    private final Tensor drawn; // I32 (most passes, B)
    private final List<SampleOp> samples = new ArrayList<>(); // of each pass
    private final List<AppendOp> appends = new ArrayList<>();
    private final IncrementOp nextStep;
    private final IncrementOp nextPosition;
    private final Map<Passes, Runnable> recorded = new HashMap<>();

    private record Passes(Pass pass, int count) {}

    /**
     * @param model built for generation; must outlive this decoder
     * @param batch sequences that are continued at once
     * @param seed of the stream that tokens are drawn with
     */
    public Decoder(Backend backend, LanguageModel model, int batch, Sampling sampling, long seed) {
        this.backend = backend;
        this.model = model;
        this.batch = batch;
        this.sampling = sampling;
        this.arena = backend.newArena();
        try {
            this.step = arena.allocate(DType.I32, Shape.of(1));
            this.firstSequence = arena.allocate(DType.I32, Shape.of(1));
            this.drawn = arena.allocate(DType.I32, Shape.of(backend.repetitionsPerLaunch(WINDOWS, 0), batch));
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
        this.stream = new RandomStream(seed, RandomStream.SAMPLE, step);
        for (int i = 0; i < drawn.shape().dim(0); i++) {
            Tensor tokens = drawn.slice((long) i * batch, Shape.of(batch));
            samples.add(new SampleOp(model.logits(), sampling, stream, firstSequence, tokens));
            appends.add(new AppendOp(model.tokens(), tokens));
        }
        this.nextStep = new IncrementOp(step);
        this.nextPosition = new IncrementOp(model.position());
    }

    /**
     * Sets where to continue. A pass of the same shape as the one before continues after it without this call.
     *
     * @param tokens (B, T) of the next pass
     * @param position of the first of them in its sequence, for a cached pass
     * @param step the number of the token that it draws
     * @param firstSequence sequence b is drawn with number {@code firstSequence + b} of the step
     */
    public void place(int[] tokens, int position, int step, int firstSequence) {
        model.writeTokens(tokens);
        model.position().write(position);
        this.step.write(step);
        this.firstSequence.write(firstSequence);
    }

    /** How many passes of this shape are done at once: cached ones of one token fill the context, whole windows follow it. */
    public int passesPerLaunch(Pass pass) {
        int times = pass.cached() ? Math.max(1, model.config().contextLength() - 1) : WINDOWS;
        return backend.repetitionsPerLaunch(times, FLOPS * model.parameters().count() * pass.rows());
    }

    /**
     * Draws a token of each sequence after a pass, or several after as many passes: each later pass reads the drawn
     * token, a cached one at the next position, others in a window that has dropped its first token.
     *
     * @param most passes of this shape that may be done, at least 1
     * @return the tokens (passes, B) of as many passes as are done at once, or of one pass where that exceeds
     *     {@code most}
     */
    public int[] draw(Pass pass, int most) {
        int together = passesPerLaunch(pass);
        int count = together <= most ? together : 1;
        recorded.computeIfAbsent(new Passes(pass, count), this::prepare).run();
        int[] tokens = new int[count * batch];
        drawn.read(tokens);
        return tokens;
    }

    private Runnable prepare(Passes passes) {
        Runnable forward = backend.region(arena, ops -> model.forward(ops, passes.pass()));
        return backend.record(arena, () -> operations(passes, forward));
    }

    private void operations(Passes passes, Runnable forward) {
        Pass pass = passes.pass();
        for (int i = 0; i < passes.count(); i++) {
            forward.run();
            backend.sample(samples.get(i), pass);
            backend.append(appends.get(i), pass);
            backend.increment(nextStep);
            if (pass.cached()) {
                backend.increment(nextPosition);
            }
        }
    }

    /** Whether it draws with this sampling and seed. */
    boolean draws(Sampling otherSampling, long seed) {
        return sampling.equals(otherSampling) && stream.seed() == seed;
    }

    /** Bytes of its own tensors, without the model. */
    public long bytes() {
        return arena.bytes();
    }

    @Override
    public void close() {
        arena.close();
    }
}
