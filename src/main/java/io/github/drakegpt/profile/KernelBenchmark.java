package io.github.drakegpt.profile;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.LibraryOperations;
import io.github.drakegpt.backend.MatrixProduct;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.function.Function;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Times single operations of a backend at the sizes that they have when a model is trained. */
public final class KernelBenchmark {
    private static final Logger log = LoggerFactory.getLogger(KernelBenchmark.class);
    private static final long SEED = 42;
    private static final int COPIED = 1 << 25; // 128 MB to read and as much to write
    private static final int CORPUS_TOKENS = 1_000_000;
    /** Operands of more than this do not wait in a cache for their next use in training either. */
    private static final long CACHED_BYTES = 16L << 20;

    private final Backend backend;
    private final ModelConfig model;
    private final int batch;
    private final DType activations;
    private final Optional<LibraryOperations> library;
    private final OperationTimer timer;
    private final Consumer<Result> results;

    private KernelBenchmark(
            Backend backend, Arena arena, ModelConfig model, int batch, double seconds, Consumer<Result> results) {
        this.backend = backend;
        this.model = model;
        this.batch = batch;
        this.activations = backend.precision().activations();
        this.library = backend.libraryOperations(arena);
        this.timer = new OperationTimer(backend, seconds);
        this.results = results;
    }

    /**
     * One operation at one size, timed or failed.
     *
     * @param operation the name of its method in {@link Backend}, or of {@link LibraryOperations}
     * @param by the library that did it; null where the backend did
     * @param dtype the smallest floating-point type among its operands
     * @param shape its sizes, in the order of its arguments
     * @param bytes it has to move if it reads and writes each element once
     * @param flops multiplications and additions of its matrix products; 0 if it has none
     * @param timing null if it failed
     * @param failure why it was not timed, and then dtype and bytes are those of the operands that were there; else null
     */
    public record Result(
            String operation,
            String by,
            DType dtype,
            Shape shape,
            long bytes,
            long flops,
            Benchmark.Timing timing,
            Throwable failure) {
        /** What it moves, in 10^9 bytes per second. */
        public double gigabytesPerSecond() {
            return bytes / timing.median() / 1e6;
        }

        /** What its matrix products compute, in 10^9 operations per second. */
        public double gigaflopsPerSecond() {
            return flops / timing.median() / 1e6;
        }
    }

    /**
     * Times a copy, to compare with, and then each operation of training and generating, behind it the same by a library
     * where the device has one. An operation that fails, for want of memory or because a library refuses it, is a result too.
     *
     * @param model whose sizes they get
     * @param batch sequences of a training step
     * @param seconds how long to measure each, after half as long to warm up
     * @param results gets each as it comes
     */
    public static void run(Backend backend, ModelConfig model, int batch, double seconds, Consumer<Result> results) {
        try (Arena arena = backend.newArena()) {
            KernelBenchmark benchmark = new KernelBenchmark(backend, arena, model, batch, seconds, results);
            benchmark.elementwise();
            benchmark.norms();
            benchmark.products();
            benchmark.attention();
            benchmark.tokens();
            benchmark.optimizer();
        }
    }

    // ---------------------------------------------------------------------------------------------- operations

    private void elementwise() {
        time("copy", 0, Shape.of(COPIED), operands -> {
            Tensor source = operands.read(COPIED);
            Tensor target = operands.write(COPIED);
            return () -> backend.copy(source, target, COPIED);
        });
        int rows = batch * model.contextLength();
        int c = model.embeddingDim();
        time("reluGrad", 0, Shape.of(rows, 4 * c), operands -> {
            Tensor y = operands.read(activations, rows * 4 * c);
            Tensor dy = operands.update(activations, rows * 4 * c);
            Tensor dbias = operands.write(4 * c);
            return () -> backend.reluGrad(y, dy, dbias, rows, 4 * c);
        });
        byLibrary("reluGrad", Shape.of(rows, 4 * c), (other, operands) -> {
            Tensor y = operands.read(activations, rows * 4 * c);
            Tensor dy = operands.update(activations, rows * 4 * c);
            return () -> other.reluGrad(y, dy, rows * 4 * c);
        });
        byLibrary("relu", Shape.of(rows, 4 * c), (other, operands) -> {
            Tensor x = operands.read(activations, rows * 4 * c);
            Tensor y = operands.write(activations, rows * 4 * c);
            return () -> other.relu(x, y, rows * 4 * c);
        });
        time("residual", 0, Shape.of(rows, c), operands -> {
            Tensor x = operands.read(activations, rows * c);
            Tensor branch = operands.read(activations, rows * c);
            Tensor bias = operands.read(c);
            Tensor sum = operands.write(activations, rows * c);
            Dropout dropout = operands.dropout();
            return () -> backend.residual(x, branch, bias, dropout, 0, sum, rows, c);
        });
        time("residualGrad", 0, Shape.of(rows, c), operands -> {
            Tensor dsum = operands.read(activations, rows * c);
            Tensor dbranch = operands.write(activations, rows * c);
            Tensor dbias = operands.write(c);
            Dropout dropout = operands.dropout();
            return () -> backend.residualGrad(dsum, dropout, 0, dbranch, dbias, rows, c);
        });
    }

    private void norms() {
        int rows = batch * model.contextLength();
        int c = model.embeddingDim();
        Shape shape = Shape.of(rows, c);
        time("layerNorm", 0, shape, operands -> {
            Tensor x = operands.read(activations, rows * c);
            Tensor weight = operands.read(c);
            Tensor bias = operands.read(c);
            Tensor out = operands.write(activations, rows * c);
            Tensor stats = operands.write(rows * 2);
            return () -> backend.layerNorm(x, weight, bias, out, stats, rows, c);
        });
        time("residualNorm", 0, shape, operands -> {
            Tensor x = operands.read(activations, rows * c);
            Tensor branch = operands.read(activations, rows * c);
            Tensor branchBias = operands.read(c);
            Tensor sum = operands.write(activations, rows * c);
            Tensor weight = operands.read(c);
            Tensor bias = operands.read(c);
            Tensor out = operands.write(activations, rows * c);
            Tensor stats = operands.write(rows * 2);
            Dropout dropout = operands.dropout();
            return () ->
                    backend.residualNorm(x, branch, branchBias, dropout, 0, sum, weight, bias, out, stats, rows, c);
        });
        time("layerNormGrad", 0, shape, operands -> {
            Tensor x = operands.read(activations, rows * c);
            Tensor weight = operands.read(c);
            Tensor stats = operands.read(rows * 2);
            Tensor dout = operands.read(activations, rows * c);
            Tensor dx = operands.update(activations, rows * c);
            Tensor dweight = operands.write(c);
            Tensor dbias = operands.write(c);
            return () -> backend.layerNormGrad(x, weight, stats, dout, dx, dweight, dbias, rows, c);
        });
        time("residualNormGrad", 0, shape, operands -> {
            Tensor sum = operands.read(activations, rows * c);
            Tensor weight = operands.read(c);
            Tensor stats = operands.read(rows * 2);
            Tensor dout = operands.read(activations, rows * c);
            Tensor dsum = operands.update(activations, rows * c);
            Tensor dweight = operands.write(c);
            Tensor dbias = operands.write(c);
            Tensor dbranch = operands.write(activations, rows * c);
            Tensor dbranchBias = operands.write(c);
            Dropout dropout = operands.dropout();
            return () -> backend.residualNormGrad(
                    sum, weight, stats, dout, dsum, dweight, dbias, dropout, 0, dbranch, dbranchBias, rows, c);
        });
        time("rmsNorm", 0, shape, operands -> {
            Tensor x = operands.read(activations, rows * c);
            Tensor weight = operands.read(c);
            Tensor out = operands.write(activations, rows * c);
            Tensor stats = operands.write(rows);
            return () -> backend.rmsNorm(x, weight, out, stats, rows, c);
        });
        time("rmsNormGrad", 0, shape, operands -> {
            Tensor x = operands.read(activations, rows * c);
            Tensor weight = operands.read(c);
            Tensor stats = operands.read(rows);
            Tensor dout = operands.read(activations, rows * c);
            Tensor dx = operands.update(activations, rows * c);
            Tensor dweight = operands.write(c);
            return () -> backend.rmsNormGrad(x, weight, stats, dout, dx, dweight, rows, c);
        });
        time("quantizeRows", 0, shape, operands -> {
            Tensor x = operands.read(activations, rows * c);
            Tensor q = operands.write(activations, rows * c);
            return () -> backend.quantizeRows(x, null, q, rows, c);
        });
        time("quantizeWeights", 0, Shape.of(4 * c, c), operands -> {
            Tensor w = operands.read(4 * c * c);
            Tensor q = operands.write(activations, 4 * c * c);
            return () -> backend.quantizeWeights(w, Quantization.B158, null, q, 1, 4 * c * c);
        });
        time("quantizeInt8", 0, shape, operands -> {
            Tensor x = operands.read(rows * c);
            Int8Rows q = operands.int8(rows, c);
            return () -> backend.quantizeInt8(x, q, rows, c);
        });
        time("rmsNormInt8", 0, shape, operands -> {
            Tensor x = operands.read(rows * c);
            Tensor weight = operands.read(c);
            Tensor out = operands.untouched(rows * c);
            Tensor stats = operands.untouched(rows);
            Int8Rows q = operands.int8(rows, c);
            return () -> backend.rmsNormInt8(x, weight, out, stats, q, rows, c);
        });
        time("layerNormInt8", 0, shape, operands -> {
            Tensor x = operands.read(rows * c);
            Tensor weight = operands.read(c);
            Tensor bias = operands.read(c);
            Tensor out = operands.untouched(rows * c);
            Tensor stats = operands.untouched(rows * 2);
            Int8Rows q = operands.int8(rows, c);
            return () -> backend.layerNormInt8(x, weight, bias, out, stats, q, rows, c);
        });
        time("residualNormInt8", 0, shape, operands -> {
            Tensor x = operands.read(rows * c);
            Tensor branch = operands.read(rows * c);
            Tensor sum = operands.write(rows * c);
            Tensor weight = operands.read(c);
            Tensor bias = operands.read(c);
            Tensor out = operands.untouched(rows * c);
            Tensor stats = operands.untouched(rows * 2);
            Int8Rows q = operands.int8(rows, c);
            return () -> backend.residualNormInt8(x, branch, sum, weight, bias, out, stats, q, rows, c);
        });
    }

    /** Queries, keys and values; the projection; the two layers of the feed-forward network; the head. */
    private void products() {
        int c = model.embeddingDim();
        linear(c, 3 * c, false, false, activations);
        linear(c, c, true, false, activations);
        linear(c, 4 * c, true, true, activations);
        linear(4 * c, c, true, false, activations);
        linear(c, model.vocabSize(), true, false, DType.F32);
        packedLinear(c, 3 * c, false, false);
        packedLinear(c, c, true, false);
        packedLinear(c, 4 * c, true, true);
        packedLinear(4 * c, c, true, false);
    }

    /** @param result what it writes: logits are F32 whatever the activations are */
    private void linear(int in, int out, boolean withBias, boolean relu, DType result) {
        int rows = batch * model.contextLength();
        long flops = 2L * rows * in * out;
        time("linear", flops, Shape.of(rows, in, out), operands -> {
            Tensor x = operands.read(activations, rows * in);
            Tensor w = operands.read(activations, out * in);
            Tensor bias = withBias ? operands.read(out) : null;
            Tensor y = operands.write(result, rows * out);
            return () -> backend.linear(x, w, bias, relu, y, rows, in, out);
        });
        byLibrary("linear", activations == DType.F32 ? "fp32" : "bf16", rows, in, out);
        time("linearGrad", 2 * flops, Shape.of(rows, in, out), operands -> {
            Tensor x = operands.read(activations, rows * in);
            Tensor w = operands.read(activations, out * in);
            Tensor dy = operands.read(activations, rows * out);
            Tensor dx = operands.write(activations, rows * in);
            Tensor dw = operands.write(out * in);
            Tensor dbias = withBias ? operands.write(out) : null;
            return () -> backend.linearGrad(x, w, dy, dx, dw, dbias, rows, in, out);
        });
    }

    private void packedLinear(int in, int out, boolean withBias, boolean relu) {
        int rows = batch * model.contextLength();
        time("packedLinear", 2L * rows * in * out, Shape.of(rows, in, out), operands -> {
            Int8Rows x = operands.int8(rows, in);
            PackedWeights w = operands.packed(out, in);
            Tensor bias = withBias ? operands.read(out) : null;
            Tensor y = operands.write(rows * out);
            return () -> backend.packedLinear(x, w, bias, relu, y, rows);
        });
        byLibrary("packedLinear", "int8", rows, in, out);
    }

    /** The product alone, by the library that has it in this precision. */
    private void byLibrary(String operation, String precision, int rows, int in, int out) {
        for (MatrixProduct product : backend.products()) {
            if (product.library().isPresent() && product.name().equals(precision) && product.supports(rows, out, in)) {
                String library = product.library().get();
                Shape shape = Shape.of(rows, in, out);
                time(operation, library, 2L * rows * in * out, shape, operands -> operands.prepare(product, shape));
            }
        }
    }

    private void attention() {
        int t = model.contextLength();
        int heads = model.numHeads();
        int headSize = model.embeddingDim() / heads;
        int width = heads * headSize;
        int rows = batch * t;
        int squares = batch * heads * t; // rows of the (T, T) matrices
        // a row looks back at (T + 1) / 2 others on average; its products with keys and with values
        long flops = 2L * squares * (t + 1) * headSize;
        Shape shape = Shape.of(batch, t, heads, headSize);
        time("attention", flops, shape, operands -> {
            Tensor qkv = operands.read(activations, rows * 3 * width);
            Tensor out = operands.write(activations, rows * width);
            Tensor stats = operands.write(squares * 2);
            Dropout dropout = operands.dropout();
            return () -> backend.attention(qkv, out, stats, dropout, 0, batch, t, heads, headSize);
        });
        // the weights once more, and the gradients of queries, keys, values and weights: five products for two
        time("attentionGrad", flops / 2 * 5, shape, operands -> {
            Tensor qkv = operands.read(activations, rows * 3 * width);
            Tensor out = operands.read(activations, rows * width);
            Tensor stats = operands.read(squares * 2);
            Tensor dout = operands.read(activations, rows * width);
            Tensor dqkv = operands.write(activations, rows * 3 * width);
            Dropout dropout = operands.dropout();
            return () -> backend.attentionGrad(qkv, out, stats, dout, dqkv, dropout, 0, batch, t, heads, headSize);
        });
        time("attentionCached", 0, Shape.of(batch, 1, t, heads, headSize), operands -> {
            Tensor qkv = operands.read(activations, batch * 3 * width);
            Tensor cache = operands.read(activations, rows * 2 * width);
            Tensor position = operands.number(t - 1);
            Tensor out = operands.write(activations, batch * width);
            return () -> backend.attentionCached(qkv, cache, position, out, batch, 1, t, heads, headSize);
        });
        time("softmax", 0, Shape.of(squares, t), operands -> {
            Tensor x = operands.read(activations, squares * t);
            Tensor y = operands.write(activations, squares * t);
            return () -> backend.softmax(x, y, false, squares, t);
        });
        byLibrary("softmax", Shape.of(squares, t), (other, operands) -> {
            Tensor x = operands.read(activations, squares * t);
            Tensor y = operands.write(activations, squares * t);
            return () -> other.softmax(x, y, squares, t);
        });
        time("softmaxGrad", 0, Shape.of(squares, t), operands -> {
            Tensor y = operands.read(activations, squares * t);
            Tensor dy = operands.read(activations, squares * t);
            Tensor dx = operands.write(activations, squares * t);
            return () -> backend.softmaxGrad(y, dy, dx, false, squares, t);
        });
        byLibrary("softmaxGrad", Shape.of(squares, t), (other, operands) -> {
            Tensor y = operands.read(activations, squares * t);
            Tensor dy = operands.read(activations, squares * t);
            Tensor dx = operands.write(activations, squares * t);
            return () -> other.softmaxGrad(y, dy, dx, squares, t);
        });
    }

    private void tokens() {
        int t = model.contextLength();
        int rows = batch * t;
        int c = model.embeddingDim();
        int v = model.vocabSize();
        time("gatherBatch", 0, Shape.of(batch, t), operands -> {
            Tensor corpus = operands.corpus(rows + batch);
            RandomStream stream = operands.stream(RandomStream.TRAIN_BATCH);
            Tensor x = operands.tokens(rows);
            Tensor y = operands.tokens(rows);
            return () -> backend.gatherBatch(corpus, stream, 0, x, y, batch, t);
        });
        time("embedding", 0, Shape.of(batch, t, c), operands -> {
            Tensor tokens = operands.tokens(rows);
            Tensor wte = operands.read(v * c);
            Tensor wpe = operands.read(t * c);
            Tensor out = operands.write(activations, rows * c);
            return () -> backend.embedding(tokens, wte, wpe, null, out, batch, t, c);
        });
        time("embeddingGrad", 0, Shape.of(batch, t, c), operands -> {
            Tensor tokens = operands.tokens(rows);
            Tensor dout = operands.read(activations, rows * c);
            Tensor dwte = operands.write(v * c);
            Tensor dwpe = operands.write(t * c);
            return () -> backend.embeddingGrad(tokens, dout, dwte, dwpe, batch, t, c);
        });
        time("crossEntropy", 0, Shape.of(rows, v), operands -> {
            boolean inPlace = activations == DType.F32;
            Tensor logits = inPlace ? operands.update(rows * v) : operands.read(rows * v);
            Tensor dlogits = inPlace ? logits : operands.write(activations, rows * v);
            Tensor targets = operands.tokens(rows);
            Tensor loss = operands.write(1);
            return () -> backend.crossEntropy(logits, targets, loss, dlogits, 1f / rows, rows, v);
        });
        time("sample", 0, Shape.of(batch, 1, v), operands -> {
            Tensor logits = operands.read(batch * v);
            RandomStream stream = operands.stream(RandomStream.SAMPLE);
            Tensor drawn = operands.tokens(batch);
            return () -> backend.sample(logits, Sampling.PLAIN, stream, null, drawn, batch, 1, v);
        });
        time("append", 0, Shape.of(batch, t), operands -> {
            Tensor tokens = operands.tokens(rows);
            Tensor next = operands.tokens(batch);
            return () -> backend.append(tokens, next, batch, t);
        });
        time("increment", 0, Shape.of(1), operands -> {
            Tensor counter = operands.tokens(1);
            return () -> backend.increment(counter);
        });
    }

    private void optimizer() {
        int n = Math.toIntExact(LanguageModel.parametersOf(model).size());
        time("zero", 0, Shape.of(n), operands -> {
            Tensor x = operands.write(n);
            return () -> backend.zero(x, n);
        });
        time("sum", 0, Shape.of(2, n), operands -> {
            Tensor[] parts = {operands.read(n), operands.read(n)};
            Tensor sum = operands.write(n);
            return () -> backend.sum(parts, parts.length, false, sum);
        });
        time("norm", 0, Shape.of(n), operands -> {
            Tensor x = operands.read(n);
            Tensor norm = operands.write(1);
            return () -> backend.norm(x, norm);
        });
        time("adamW", 0, Shape.of(n), operands -> {
            Tensor params = operands.update(n);
            Tensor factors = activations == DType.F32 ? params : operands.write(activations, n);
            Tensor grads = operands.read(n);
            Tensor firstMoments = operands.update(n);
            Tensor secondMoments = operands.update(n);
            Tensor learningRate = operands.read(1);
            Tensor step = operands.number(1);
            Tensor norm = operands.read(1);
            AdamWSettings settings = new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.01f, 0);
            return () -> backend.adamW(
                    params, factors, grads, firstMoments, secondMoments, learningRate, step, norm, settings);
        });
    }

    // ---------------------------------------------------------------------------------------------- timing

    /** Allocates what an operation works on, random, and counts what the operation has to move. */
    private final class Operands {
        private static final float[] VALUES = values();

        private final Arena arena;
        private DType dtype = DType.F32;
        private long bytes;

        Operands(Arena arena) {
            this.arena = arena;
        }

        /** From 0 to 1, so that they can also be moments and inverse deviations: not zeros, on which GPUs are faster. */
        private static float[] values() {
            SplittableRandom random = new SplittableRandom(SEED);
            float[] values = new float[1 << 20];
            for (int i = 0; i < values.length; i++) {
                values[i] = random.nextFloat();
            }
            return values;
        }

        private Tensor allocate(DType type, int n) {
            dtype = type == DType.BF16 ? type : dtype;
            return arena.allocate(type, Shape.of(n));
        }

        /** A product (rows, in, out), which makes its own: rows of what weights are made of, and sums of 4 bytes. */
        Runnable prepare(MatrixProduct product, Shape shape) {
            int rows = shape.dim(0);
            int in = shape.dim(1);
            int out = shape.dim(2);
            bytes += product.weightBytes(out, in) + product.weightBytes(rows, in) + (long) Float.BYTES * rows * out;
            dtype = product.name().equals("bf16") ? DType.BF16 : DType.F32;
            return product.prepare(arena, out, in, 1).products(arena, rows).get(0);
        }

        /** An input. */
        Tensor read(DType type, int n) {
            Tensor tensor = allocate(type, n);
            for (int start = 0; start < n; start += VALUES.length) {
                int length = Math.min(VALUES.length, n - start);
                tensor.slice(start, Shape.of(length)).write(Arrays.copyOf(VALUES, length));
            }
            bytes += (long) n * type.bytes();
            return tensor;
        }

        /** An output. */
        Tensor write(DType type, int n) {
            bytes += (long) n * type.bytes();
            return allocate(type, n);
        }

        /** What is read and overwritten. */
        Tensor update(DType type, int n) {
            bytes += (long) n * type.bytes();
            return read(type, n);
        }

        Tensor read(int n) {
            return read(DType.F32, n);
        }

        Tensor write(int n) {
            return write(DType.F32, n);
        }

        Tensor update(int n) {
            return update(DType.F32, n);
        }

        /** What a device need not use: it is not counted. */
        Tensor untouched(int n) {
            return allocate(DType.F32, n);
        }

        /** Rows rounded to 8 bits, that are read, or written. */
        Int8Rows int8(int rows, int c) {
            Int8Rows q = Int8Rows.allocate(arena, Quantization.B158, rows, c);
            byte[] random = new byte[(int) q.values().size()];
            new Random(SEED).nextBytes(random);
            q.values().write(random);
            bytes += q.values().size() + (long) rows * (DType.F32.bytes() + DType.I32.bytes());
            return q;
        }

        /** Ternary weights that are read. */
        PackedWeights packed(int out, int in) {
            PackedWeights weights = PackedWeights.allocate(arena, Quantization.B158, out, in);
            weights.write(PackedMatrix.pack(Quantization.B158, Arrays.copyOf(VALUES, out * in), 0, out, in, 1));
            bytes += weights.codes().size() + weights.scales().size() * DType.F32.bytes();
            return weights;
        }

        /** Tokens that are read, or written. */
        Tensor tokens(int n) {
            SplittableRandom random = new SplittableRandom(SEED);
            Tensor tensor = arena.allocate(DType.I32, Shape.of(n));
            tensor.write(random.ints(n, 0, model.vocabSize()).toArray());
            bytes += (long) n * DType.I32.bytes();
            return tensor;
        }

        /** Tokens of which only some are read. */
        Tensor corpus(int read) {
            bytes += (long) read * DType.U16.bytes();
            return arena.allocate(DType.U16, Shape.of(CORPUS_TOKENS));
        }

        Tensor number(int value) {
            Tensor tensor = arena.allocate(DType.I32, Shape.of(1));
            tensor.write(value);
            return tensor;
        }

        RandomStream stream(int purpose) {
            return new RandomStream(SEED, purpose, number(1));
        }

        /** The model's; null if it has none. */
        Dropout dropout() {
            return model.dropout() > 0 ? new Dropout(model.dropout(), stream(RandomStream.dropout(0))) : null;
        }
    }

    /** Times an operation of the backend, which {@code prepare} makes with operands of its own each time. */
    private void time(String operation, long flops, Shape shape, Function<Operands, Runnable> prepare) {
        time(operation, null, flops, shape, prepare);
    }

    /** Times the same by the device's library, if there is one that can do it with such operands. */
    private void byLibrary(String operation, Shape shape, BiFunction<LibraryOperations, Operands, Runnable> prepare) {
        library.ifPresent(other -> {
            try {
                time(operation, other.library(), 0, shape, operands -> prepare.apply(other, operands));
            } catch (UnsupportedOperationException e) {
                log.warn("{} is not set beside {}: {}", operation, other.library(), e.getMessage());
            }
        });
    }

    private void time(String operation, String by, long flops, Shape shape, Function<Operands, Runnable> prepare) {
        Operands first = null;
        Benchmark.Timing timing = null;
        Throwable failure = null;
        try (Arena arena = backend.newArena()) {
            first = new Operands(arena);
            List<Runnable> operations = new ArrayList<>(List.of(prepare.apply(first)));
            long sets = first.bytes <= CACHED_BYTES ? 1 : 1 + OperationTimer.ROTATED_BYTES / first.bytes;
            while (operations.size() < sets) {
                operations.add(prepare.apply(new Operands(arena)));
            }
            timing = timer.time(arena, operations);
        } catch (UnsupportedOperationException e) {
            throw e;
        } catch (RuntimeException | OutOfMemoryError e) {
            failure = e;
        }
        results.accept(new Result(operation, by, first.dtype, shape, first.bytes, flops, timing, failure));
    }
}
