package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.cuda.SequenceOperation.Access.READ;
import static io.github.drakegpt.backend.cuda.SequenceOperation.Access.UPDATE;
import static io.github.drakegpt.backend.cuda.SequenceOperation.Access.WRITE;

import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.cuda.SequenceOperation.Builder;
import io.github.drakegpt.backend.cuda.SequenceOperation.Kind;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.OutOfMemoryException;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Tensor;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiFunction;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import jcuda.driver.CUresult;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Does the operations of small models, where they are recorded, with few launches.
 *
 * <p>While recorded work runs, operations that each sequence can go through alone are collected instead of launched. They are
 * launched together, or one by one where that is expected to be faster, before anything else that needs the GPU, and when the work
 * ends: so everything takes effect in the order of the calls. With {@code CUDA_LAUNCH_BLOCKING=1} nothing is collected, so
 * that an error names the operation's own kernel.
 */
final class FusingBackend extends CudaBackend {
    private static final Logger log = LoggerFactory.getLogger(FusingBackend.class);
    private static final String OUT_OF_MEMORY = CUresult.stringFor(CUresult.CUDA_ERROR_OUT_OF_MEMORY);

    /** The recorded work that runs at present, or null. */
    private FusedWork running;
    /** What it has collected and not launched yet, or null. */
    private Stretch stretch;
    /** Whether the driver has refused the kernels that do many operations at once. */
    private boolean refused;

    FusingBackend(CudaContext context, Kernels kernels, BackendOptions options) {
        super(context, kernels, options);
    }

    @Override
    public Runnable record(Arena arena, Runnable work) {
        if (context().blocking()) {
            return super.record(arena, work);
        }
        FusedWork fused = new FusedWork(work);
        arena.onClose(fused::close); // after the graph that launches its programs
        return super.record(arena, fused);
    }

    /** Work that is repeated, with what was made of its stretches when it ran for the first time. */
    final class FusedWork implements Runnable, AutoCloseable {
        private final Runnable work;
        /** Empty where operations are launched one by one. */
        private final Map<Stretch.Work, Optional<SequenceProgram>> programs = new HashMap<>();

        FusedWork(Runnable work) {
            this.work = work;
        }

        @Override
        public void run() {
            flush(); // what is collected for work that this is part of
            FusedWork outer = running;
            running = this;
            try {
                work.run();
                flush();
            } finally {
                stretch = null; // if the work has failed
                context().defer(null);
                running = outer;
            }
        }

        /** How many stretches are launched together. */
        int programs() {
            return (int) programs.values().stream().filter(Optional::isPresent).count();
        }

        private Optional<SequenceProgram> program(Stretch.Work stretch) {
            Optional<SequenceProgram> program = programs.get(stretch);
            if (program != null) {
                return program;
            }
            if (context().capturing()) {
                return Optional.empty(); // the list of operations cannot be copied to the GPU now
            }
            program = compile(stretch);
            programs.put(stretch, program);
            return program;
        }

        @Override
        public void close() {
            programs.values().forEach(program -> program.ifPresent(SequenceProgram::close));
            programs.clear();
        }
    }

    private Optional<SequenceProgram> compile(Stretch.Work work) {
        if (refused || !SequenceProgram.pays(work, context())) {
            return Optional.empty();
        }
        try {
            kernels().load(SequenceProgram.FILE);
        } catch (CudaException e) {
            if (e.lost() || e.error().equals(OUT_OF_MEMORY)) {
                throw e; // other kernels would not load either
            }
            refused = true;
            log.warn("Operations are launched one by one, which is slower: {}", e.getMessage());
            return Optional.empty();
        }
        try {
            return Optional.of(new SequenceProgram(context(), kernels(), staging(), scratch()::of, work));
        } catch (OutOfMemoryException e) {
            log.warn("There is no memory to launch operations together; they are launched one by one, which is slower");
            return Optional.empty();
        }
    }

    /** Launches what has been collected. */
    private void flush() {
        if (stretch == null) {
            return;
        }
        Stretch collected = stretch;
        stretch = null;
        context().defer(null);
        running.program(collected.work()).ifPresentOrElse(SequenceProgram::launch, collected::launchEach);
    }

    /**
     * Does an operation: collects it where recorded work runs, or launches it.
     *
     * @param described gives null for an operation that cannot be collected
     */
    private void perform(Supplier<SequenceOperation> described, Runnable launch) {
        SequenceOperation operation = running == null ? null : described.get();
        if (operation == null || !collect(operation, launch)) {
            launch.run(); // after what has been collected
        }
    }

    private boolean collect(SequenceOperation operation, Runnable launch) {
        if (stretch != null && stretch.add(operation, launch)) {
            return true;
        }
        flush();
        Stretch next = new Stretch(operation.batch(), operation.length());
        if (!next.add(operation, launch)) {
            return false;
        }
        stretch = next;
        context().defer(this::flush);
        return true;
    }

    /** What describes an operation of so many rows, if the stretch so far says how they are sequences; else null. */
    private Builder rows(Kind kind, int rows) {
        return stretch != null && rows == stretch.batch() * stretch.length()
                ? new Builder(kind, stretch.batch(), stretch.length())
                : null;
    }

    /** The operation with all the rest, or null if there is nothing to describe it with. */
    private static SequenceOperation build(Builder builder, UnaryOperator<Builder> rest) {
        return builder == null ? null : rest.apply(builder).build();
    }

    /** An operation of n elements, of which each row has as many; else null. */
    private SequenceOperation elements(Kind kind, int n, BiFunction<Builder, Integer, Builder> rest) {
        int rows = stretch == null ? 0 : stretch.batch() * stretch.length();
        return rows == 0 || n % rows != 0 ? null : build(rows(kind, rows), builder -> rest.apply(builder, n / rows));
    }

    // ---------------------------------------------------------------------------------------------- layers

    @Override
    public void linear(Tensor x, Tensor w, Tensor bias, boolean relu, Tensor y, int rows, int in, int out) {
        perform(
                () -> build(
                        rows(Kind.LINEAR, rows),
                        builder -> builder.rows(READ, x, in)
                                .whole(w, DType.F32, (long) out * in)
                                .whole(bias, DType.F32, out)
                                .rows(WRITE, y, out)
                                .sizes(in, out, relu ? 1 : 0)
                                .product(1, in, out)),
                () -> super.linear(x, w, bias, relu, y, rows, in, out));
    }

    @Override
    public void linearGrad(
            Tensor x, Tensor w, Tensor dy, Tensor dx, Tensor dw, Tensor dbias, int rows, int in, int out) {
        perform(
                () -> build(
                        rows(Kind.LINEAR_GRAD, rows),
                        builder -> builder.rows(READ, x, in)
                                .whole(w, DType.F32, (long) out * in)
                                .rows(READ, dy, out)
                                .rows(WRITE, dx, in)
                                .gradient(dw, (long) out * in)
                                .gradient(dbias, out)
                                .sizes(in, out)
                                .partialProducts()
                                .product(dx == null ? 1 : 2, in, out)),
                () -> super.linearGrad(x, w, dy, dx, dw, dbias, rows, in, out));
    }

    @Override
    public void reluGrad(Tensor y, Tensor dy, Tensor dbias, int rows, int c) {
        perform(
                () -> build(
                        rows(Kind.RELU_GRAD, rows),
                        builder -> builder.rows(READ, y, c)
                                .rows(UPDATE, dy, c)
                                .gradient(dbias, c)
                                .sizes(c)),
                () -> super.reluGrad(y, dy, dbias, rows, c));
    }

    @Override
    public void zero(Tensor x, int n) {
        perform(
                () -> elements(
                        Kind.ZERO,
                        n,
                        (builder, width) -> builder.rows(WRITE, x, width).sizes(width)),
                () -> super.zero(x, n));
    }

    @Override
    public void embedding(Tensor tokens, Tensor wte, Tensor wpe, Tensor position, Tensor out, int batch, int t, int c) {
        perform(
                () -> new Builder(Kind.EMBEDDING, batch, t)
                        .far(READ, tokens, DType.I32, t)
                        .whole(wte, DType.F32, c)
                        .whole(wpe, DType.F32, (long) t * c)
                        .rows(WRITE, out, c)
                        .whole(position, DType.I32, 1)
                        .sizes(c)
                        .build(),
                () -> super.embedding(tokens, wte, wpe, position, out, batch, t, c));
    }

    @Override
    public void embeddingGrad(Tensor tokens, Tensor dout, Tensor dwte, Tensor dwpe, int batch, int t, int c) {
        perform(
                () -> new Builder(Kind.EMBEDDING_GRAD, batch, t)
                        .far(READ, tokens, DType.I32, t)
                        .rows(READ, dout, c)
                        .gradient(dwte, dwte.size())
                        .gradient(dwpe, dwpe == null ? 0 : dwpe.size())
                        .sizes(c, (int) (dwte.size() / c), dwpe == null ? 0 : (int) (dwpe.size() / c))
                        .build(),
                () -> super.embeddingGrad(tokens, dout, dwte, dwpe, batch, t, c));
    }

    @Override
    public void layerNorm(Tensor x, Tensor weight, Tensor bias, Tensor out, Tensor stats, int rows, int c) {
        perform(
                () -> norm(x, null, null, null, 0, null, weight, bias, out, stats, rows, c),
                () -> super.layerNorm(x, weight, bias, out, stats, rows, c));
    }

    @Override
    public void residualNorm(
            Tensor x,
            Tensor branch,
            Tensor branchBias,
            Dropout dropout,
            long firstRow,
            Tensor sum,
            Tensor weight,
            Tensor bias,
            Tensor out,
            Tensor stats,
            int rows,
            int c) {
        perform(
                () -> norm(x, branch, branchBias, dropout, firstRow, sum, weight, bias, out, stats, rows, c),
                () -> super.residualNorm(
                        x, branch, branchBias, dropout, firstRow, sum, weight, bias, out, stats, rows, c));
    }

    private SequenceOperation norm(
            Tensor x,
            Tensor branch,
            Tensor branchBias,
            Dropout dropout,
            long firstRow,
            Tensor sum,
            Tensor weight,
            Tensor bias,
            Tensor out,
            Tensor stats,
            int rows,
            int c) {
        return build(
                rows(Kind.LAYER_NORM, rows),
                builder -> builder.rows(READ, x, c)
                        .rows(READ, branch, c)
                        .rows(WRITE, sum, c)
                        .whole(weight, DType.F32, c)
                        .whole(bias, DType.F32, c)
                        .rows(WRITE, out, c)
                        .rows(WRITE, stats, 2)
                        .whole(branchBias, DType.F32, c)
                        .dropout(dropout, firstRow)
                        .sizes(c)
                        .norm(c));
    }

    @Override
    public void layerNormGrad(
            Tensor x,
            Tensor weight,
            Tensor stats,
            Tensor dout,
            Tensor dx,
            Tensor dweight,
            Tensor dbias,
            int rows,
            int c) {
        perform(
                () -> normGrad(x, weight, stats, dout, dx, dweight, dbias, null, 0, null, null, rows, c),
                () -> super.layerNormGrad(x, weight, stats, dout, dx, dweight, dbias, rows, c));
    }

    @Override
    public void residualNormGrad(
            Tensor sum,
            Tensor weight,
            Tensor stats,
            Tensor dout,
            Tensor dsum,
            Tensor dweight,
            Tensor dbias,
            Dropout dropout,
            long firstRow,
            Tensor dbranch,
            Tensor dbranchBias,
            int rows,
            int c) {
        perform(
                () -> normGrad(
                        sum,
                        weight,
                        stats,
                        dout,
                        dsum,
                        dweight,
                        dbias,
                        dropout,
                        firstRow,
                        dbranch,
                        dbranchBias,
                        rows,
                        c),
                () -> super.residualNormGrad(
                        sum,
                        weight,
                        stats,
                        dout,
                        dsum,
                        dweight,
                        dbias,
                        dropout,
                        firstRow,
                        dbranch,
                        dbranchBias,
                        rows,
                        c));
    }

    private SequenceOperation normGrad(
            Tensor x,
            Tensor weight,
            Tensor stats,
            Tensor dout,
            Tensor dx,
            Tensor dweight,
            Tensor dbias,
            Dropout dropout,
            long firstRow,
            Tensor dbranch,
            Tensor dbranchBias,
            int rows,
            int c) {
        return build(
                rows(Kind.LAYER_NORM_GRAD, rows),
                builder -> builder.rows(READ, x, c)
                        .whole(weight, DType.F32, c)
                        .rows(READ, stats, 2)
                        .rows(READ, dout, c)
                        .rows(UPDATE, dx, c)
                        .gradient(dweight, c)
                        .gradient(dbias, c)
                        .rows(WRITE, dbranch, c)
                        .gradient(dbranchBias, c)
                        .dropout(dropout, firstRow)
                        .sizes(c)
                        .norm(c));
    }

    @Override
    public void residual(
            Tensor x, Tensor branch, Tensor bias, Dropout dropout, long firstRow, Tensor sum, int rows, int c) {
        perform(
                () -> build(
                        rows(Kind.RESIDUAL, rows),
                        builder -> builder.rows(READ, x, c)
                                .rows(READ, branch, c)
                                .rows(WRITE, sum, c)
                                .whole(bias, DType.F32, c)
                                .dropout(dropout, firstRow)
                                .sizes(c)),
                () -> super.residual(x, branch, bias, dropout, firstRow, sum, rows, c));
    }

    @Override
    public void residualGrad(
            Tensor dsum, Dropout dropout, long firstRow, Tensor dbranch, Tensor dbias, int rows, int c) {
        perform(
                () -> build(
                        rows(Kind.RESIDUAL_GRAD, rows),
                        builder -> builder.rows(READ, dsum, c)
                                .rows(WRITE, dbranch, c)
                                .gradient(dbias, c)
                                .dropout(dropout, firstRow)
                                .sizes(c)),
                () -> super.residualGrad(dsum, dropout, firstRow, dbranch, dbias, rows, c));
    }

    // ---------------------------------------------------------------------------------------------- attention

    @Override
    public void attention(
            Tensor qkv,
            Tensor out,
            Tensor stats,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize) {
        int width = heads * headSize;
        perform(
                () -> new Builder(Kind.ATTENTION, batch, t)
                        .rows(READ, qkv, 3 * width)
                        .rows(WRITE, out, width)
                        .elements(WRITE, stats, 2 * heads)
                        .dropout(dropout, firstSequence)
                        .attention(heads, headSize, t)
                        .build(),
                () -> super.attention(qkv, out, stats, dropout, firstSequence, batch, t, heads, headSize));
    }

    @Override
    public void attentionGrad(
            Tensor qkv,
            Tensor out,
            Tensor stats,
            Tensor dout,
            Tensor dqkv,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize) {
        int width = heads * headSize;
        perform(
                () -> new Builder(Kind.ATTENTION_GRAD, batch, t)
                        .rows(READ, qkv, 3 * width)
                        .rows(READ, out, width)
                        .elements(READ, stats, 2 * heads)
                        .rows(READ, dout, width)
                        .rows(WRITE, dqkv, 3 * width)
                        .dropout(dropout, firstSequence)
                        .attentionGrad(heads, headSize)
                        .build(),
                () -> super.attentionGrad(
                        qkv, out, stats, dout, dqkv, dropout, firstSequence, batch, t, heads, headSize));
    }

    @Override
    public void attentionCached(
            Tensor qkv,
            Tensor cache,
            Tensor position,
            Tensor out,
            int batch,
            int t,
            int context,
            int heads,
            int headSize) {
        int width = heads * headSize;
        perform(
                () -> new Builder(Kind.ATTENTION_CACHED, batch, t)
                        .rows(READ, qkv, 3 * width)
                        .rows(WRITE, out, width)
                        .far(UPDATE, cache, DType.F32, context * 2 * width)
                        .whole(position, DType.I32, 1)
                        .attention(heads, headSize, context)
                        .build(),
                () -> super.attentionCached(qkv, cache, position, out, batch, t, context, heads, headSize));
    }

    // ---------------------------------------------------------------------------------------------- training

    @Override
    public void crossEntropy(
            Tensor logits, Tensor targets, Tensor loss, Tensor dlogits, float gradScale, int rows, int v) {
        perform(
                () -> build(
                        rows(Kind.CROSS_ENTROPY, rows),
                        builder -> builder.rows(READ, logits, v)
                                .far(READ, targets, DType.I32, rows / stretch.batch())
                                .loss(loss)
                                .rows(WRITE, dlogits, v)
                                .number(gradScale)
                                .sizes(v)),
                () -> super.crossEntropy(logits, targets, loss, dlogits, gradScale, rows, v));
    }

    @Override
    public void gatherBatch(
            Tensor corpus, RandomStream stream, long firstSequence, Tensor x, Tensor y, int batch, int t) {
        perform(
                () -> new Builder(Kind.GATHER, batch, t)
                                .whole(corpus, DType.U16, t + 1L)
                                .far(WRITE, x, DType.I32, t)
                                .far(WRITE, y, DType.I32, t)
                                .stream(stream, firstSequence)
                                .sizes(Math.toIntExact(corpus.size()))
                                .build(),
                () -> super.gatherBatch(corpus, stream, firstSequence, x, y, batch, t));
    }

    @Override
    public void norm(Tensor x, Tensor norm) {
        int n = Math.toIntExact(x.size());
        Runnable launch = () -> super.norm(x, norm);
        if (stretch == null
                || !stretch.addNorm(
                        new Stretch.Norm(
                                DeviceStorage.address(x, DType.F32, n), n, DeviceStorage.address(norm, DType.F32, 1)),
                        launch)) {
            launch.run();
        }
    }

    @Override
    public void adamW(
            Tensor params,
            Tensor factors,
            Tensor grads,
            Tensor firstMoments,
            Tensor secondMoments,
            Tensor learningRate,
            Tensor step,
            Tensor gradNorm,
            AdamWSettings settings) {
        int n = Math.toIntExact(params.size());
        Runnable launch = () -> super.adamW(
                params, factors, grads, firstMoments, secondMoments, learningRate, step, gradNorm, settings);
        if (stretch == null
                || factors != params
                || !stretch.addAdamW(
                        new Stretch.AdamW(
                                DeviceStorage.address(params, DType.F32, n),
                                DeviceStorage.address(firstMoments, DType.F32, n),
                                DeviceStorage.address(secondMoments, DType.F32, n),
                                DeviceStorage.address(learningRate, DType.F32, 1),
                                DeviceStorage.address(step, DType.I32, 1),
                                settings),
                        DeviceStorage.address(grads, DType.F32, n),
                        n,
                        DeviceStorage.address(gradNorm, DType.F32, 1),
                        launch)) {
            launch.run();
        }
    }
}
