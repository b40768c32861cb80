package io.github.drakegpt.profile;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.LibraryOperations;
import io.github.drakegpt.backend.MatmulCandidate;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.nn.MeasuringArena;
import io.github.drakegpt.ops.Access;
import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.AppendOp;
import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.CopyOp;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.EmbeddingGradOp;
import io.github.drakegpt.ops.EmbeddingOp;
import io.github.drakegpt.ops.GatherBatchOp;
import io.github.drakegpt.ops.GradNormOp;
import io.github.drakegpt.ops.IncrementOp;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Operand;
import io.github.drakegpt.ops.Operation;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.QuantizeInt8Op;
import io.github.drakegpt.ops.QuantizeRowsOp;
import io.github.drakegpt.ops.QuantizeWeightsOp;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.ops.ReluGradOp;
import io.github.drakegpt.ops.ResidualGradOp;
import io.github.drakegpt.ops.ResidualOp;
import io.github.drakegpt.ops.RmsNormGradOp;
import io.github.drakegpt.ops.RmsNormOp;
import io.github.drakegpt.ops.SampleOp;
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.ops.SoftmaxGradOp;
import io.github.drakegpt.ops.SoftmaxOp;
import io.github.drakegpt.ops.SumOp;
import io.github.drakegpt.ops.ZeroOp;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
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

/** Times single operations of a backend at their sizes in the training of a model. */
public final class KernelBenchmark {
    private static final Logger log = LoggerFactory.getLogger(KernelBenchmark.class);
    private static final long SEED = 42;
    private static final int COPIED = 1 << 25; // 128 MB to read and as much to write
    private static final int CORPUS_TOKENS = 1_000_000;
    /** Larger operands are not in a cache at their next use in training either. */
    private static final long CACHED_BYTES = 16L << 20;
    /** For operations without rows. */
    private static final Pass ONE_ROW = Pass.evaluation(1, 1);

    private final Backend backend;
    private final ModelConfig model;
    private final int batch;
    private final int rows;
    /** A training step. */
    private final Pass pass;

    private final DType activations;
    private final Optional<LibraryOperations> library;
    private final OperationTimer timer;
    private final Consumer<Result> results;

    private KernelBenchmark(
            Backend backend, Arena arena, ModelConfig model, int batch, double seconds, Consumer<Result> results) {
        this.backend = backend;
        this.model = model;
        this.batch = batch;
        this.rows = batch * model.contextLength();
        this.pass = Pass.training(batch, model.contextLength(), 0);
        this.activations = backend.activations();
        this.library = backend.libraryOperations(arena);
        this.timer = new OperationTimer(backend, seconds);
        this.results = results;
    }

    /**
     * One operation at one size.
     *
     * @param operation its {@link OperationName}, or the name of its method in {@link LibraryOperations}
     * @param by the library that does it; null where the backend does
     * @param dtype the smallest floating-point type among its operands
     * @param shape its sizes, in the order of its dimensions
     * @param bytes that it moves if it reads and writes each element once
     * @param flops multiplications and additions of its matrix products; 0 if it has none
     */
    public record Subject(String operation, String by, DType dtype, Shape shape, long bytes, long flops) {}

    /**
     * An operation timed, or failed.
     *
     * @param timing null if it failed
     * @param failure the reason if it failed; else null
     */
    public record Result(Subject subject, Benchmark.Timing timing, Throwable failure) {
        /** Its bandwidth, in 10^9 bytes per second. */
        public double gigabytesPerSecond() {
            return subject.bytes / timing.median() / 1e6;
        }

        /** The rate of its matrix products, in 10^9 operations per second. */
        public double gigaflopsPerSecond() {
            return subject.flops / timing.median() / 1e6;
        }
    }

    /**
     * Times a copy, as the reference, then each operation of training and generating, followed by the same operation of
     * a library where the device has one. A failure, for want of memory or because a library refuses the operation, is
     * also a result.
     *
     * @param model whose sizes they have
     * @param batch sequences of a training step
     * @param seconds to measure each, after half as long to warm up
     * @param results receives each at once
     */
    public static void run(Backend backend, ModelConfig model, int batch, double seconds, Consumer<Result> results) {
        try (Arena arena = backend.newArena()) {
            KernelBenchmark benchmark = new KernelBenchmark(backend, arena, model, batch, seconds, results);
            benchmark.elementwise();
            benchmark.norms();
            benchmark.rounding();
            benchmark.products();
            benchmark.attention();
            benchmark.tokens();
            benchmark.optimizer();
        }
    }

    // ---------------------------------------------------------------------------------------------- operations

    private void elementwise() {
        time(Shape.of(COPIED), ONE_ROW, tensors -> new CopyOp(tensors.floats(COPIED), tensors.floats(COPIED)));
        int c = model.embeddingDim();
        Shape wide = Shape.of(rows, 4 * c);
        time(wide, pass, tensors -> {
            return new ReluGradOp(
                    tensors.activations(rows, 4 * c), tensors.activations(rows, 4 * c), tensors.floats(4 * c));
        });
        byLibrary("reluGrad", wide, 3, (other, x) -> () -> other.reluGrad(x.get(0), x.get(1), rows * 4 * c));
        byLibrary("relu", wide, 2, (other, x) -> () -> other.relu(x.get(0), x.get(1), rows * 4 * c));
        Shape shape = Shape.of(rows, c);
        time(shape, pass, tensors -> tensors.residual());
        time(shape, pass, tensors -> tensors.residualGrad(tensors.activations(rows, c)));
    }

    private void norms() {
        int c = model.embeddingDim();
        Shape shape = Shape.of(rows, c);
        time(shape, pass, tensors -> tensors.layerNorm(null));
        time(shape, pass, tensors -> tensors.layerNorm(tensors.residual()));
        time(shape, pass, tensors -> tensors.layerNormGrad(tensors.activations(rows, c), null));
        time(shape, pass, tensors -> {
            Tensor dx = tensors.activations(rows, c);
            return tensors.layerNormGrad(dx, tensors.residualGrad(dx));
        });
        time(shape, pass, tensors -> {
            Tensor x = tensors.activations(rows, c);
            return new RmsNormOp(x, tensors.floats(c), tensors.activations(rows, c), tensors.floats(rows), null);
        });
        time(shape, pass, tensors -> {
            Tensor x = tensors.activations(rows, c);
            Tensor dout = tensors.activations(rows, c);
            Tensor dx = tensors.activations(rows, c);
            return new RmsNormGradOp(x, tensors.floats(c), tensors.floats(rows), dout, dx, tensors.floats(c));
        });
        time(shape, pass, tensors -> {
            return new QuantizeRowsOp(tensors.activations(rows, c), null, tensors.activations(rows, c));
        });
        time(Shape.of(4 * c, c), pass, tensors -> {
            Tensor w = tensors.floats(4 * c, c);
            return new QuantizeWeightsOp(w, Quantization.B158, 1, null, tensors.activations(4 * c, c));
        });
    }

    /** Rows of F32 rounded to 8 bits, alone and after a norm. */
    private void rounding() {
        int c = model.embeddingDim();
        Shape shape = Shape.of(rows, c);
        time(shape, pass, tensors -> new QuantizeInt8Op(tensors.floats(rows, c), tensors.int8(rows, c)));
        time(shape, pass, tensors -> {
            Tensor x = tensors.floats(rows, c);
            Tensor out = tensors.floats(rows, c);
            return new RmsNormOp(x, tensors.floats(c), out, tensors.floats(rows), tensors.int8(rows, c));
        });
        time(shape, pass, tensors -> tensors.layerNormInt8(null, tensors.floats(rows, c)));
        time(shape, pass, tensors -> {
            Tensor sum = tensors.floats(rows, c);
            Tensor x = tensors.floats(rows, c);
            return tensors.layerNormInt8(new ResidualOp(x, tensors.floats(rows, c), null, null, sum), sum);
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

    /** @param result the type of its output: logits are F32 even where activations are BF16 */
    private void linear(int in, int out, boolean withBias, boolean relu, DType result) {
        Shape shape = Shape.of(rows, in, out);
        long flops = 2L * rows * in * out;
        time(flops, shape, pass, tensors -> {
            Tensor x = tensors.activations(rows, in);
            Tensor w = tensors.activations(out, in);
            Tensor bias = withBias ? tensors.floats(out) : null;
            return new LinearOp(x, w, bias, relu, tensors.of(result, rows, out));
        });
        byLibrary("linear", activations == DType.F32 ? "fp32" : "bf16", in, out);
        time(2 * flops, shape, pass, tensors -> {
            Tensor x = tensors.activations(rows, in);
            Tensor w = tensors.activations(out, in);
            Tensor dy = tensors.activations(rows, out);
            Tensor dbias = withBias ? tensors.floats(out) : null;
            return new LinearGradOp(x, w, dy, tensors.activations(rows, in), tensors.floats(out, in), dbias);
        });
    }

    private void packedLinear(int in, int out, boolean withBias, boolean relu) {
        time(2L * rows * in * out, Shape.of(rows, in, out), pass, tensors -> {
            Tensor bias = withBias ? tensors.floats(out) : null;
            return new PackedLinearOp(
                    tensors.int8(rows, in), tensors.packed(out, in), bias, relu, tensors.floats(rows, out));
        });
        byLibrary("packedLinear", "int8", in, out);
    }

    private void attention() {
        int t = model.contextLength();
        int heads = model.numHeads();
        int headSize = model.embeddingDim() / heads;
        int width = heads * headSize;
        int squares = rows * heads; // rows of the (T, T) matrices
        // a row looks back at (T + 1) / 2 others on average; its products with keys and with values
        long flops = 2L * squares * (t + 1) * headSize;
        Shape shape = Shape.of(batch, t, heads, headSize);
        time(flops, shape, pass, tensors -> tensors.attention(heads, width));
        // the weights once more, and the gradients of queries, keys, values and weights: five products for two
        time(flops / 2 * 5, shape, pass, tensors -> {
            return new AttentionGradOp(
                    tensors.attention(heads, width),
                    tensors.activations(rows, width),
                    tensors.activations(rows, 3 * width));
        });
        time(Shape.of(batch, 1, t, heads, headSize), Pass.generation(batch, 1), tensors -> {
            Tensor qkv = tensors.activations(batch, 3 * width);
            Tensor cache = tensors.activations(batch, t, 2 * width);
            return new AttentionCachedOp(qkv, cache, tensors.number(t - 1), tensors.activations(batch, width), heads);
        });
        Shape weights = Shape.of(squares, t);
        Pass each = Pass.evaluation(1, squares);
        time(weights, each, tensors -> {
            return new SoftmaxOp(tensors.activations(squares, t), tensors.activations(squares, t), false);
        });
        byLibrary("softmax", weights, 2, (other, x) -> () -> other.softmax(x.get(0), x.get(1), squares, t));
        time(weights, each, tensors -> {
            Tensor y = tensors.activations(squares, t);
            Tensor dy = tensors.activations(squares, t);
            return new SoftmaxGradOp(y, dy, tensors.activations(squares, t), false);
        });
        byLibrary("softmaxGrad", weights, 3, (other, x) -> {
            return () -> other.softmaxGrad(x.get(0), x.get(1), x.get(2), squares, t);
        });
    }

    private void tokens() {
        int t = model.contextLength();
        int c = model.embeddingDim();
        int v = model.vocabSize();
        time(Shape.of(batch, t), pass, tensors -> {
            Tensor corpus = tensors.of(DType.U16, CORPUS_TOKENS);
            RandomStream stream = tensors.stream(RandomStream.TRAIN_BATCH);
            return new GatherBatchOp(corpus, stream, tensors.tokens(rows), tensors.tokens(rows));
        });
        time(Shape.of(batch, t, c), pass, tensors -> {
            Tensor out = tensors.activations(rows, c);
            return new EmbeddingOp(tensors.tokens(rows), tensors.floats(v, c), tensors.floats(t, c), null, out);
        });
        time(Shape.of(batch, t, c), pass, tensors -> {
            Tensor dout = tensors.activations(rows, c);
            return new EmbeddingGradOp(tensors.tokens(rows), dout, tensors.floats(v, c), tensors.floats(t, c));
        });
        time(Shape.of(rows, v), pass, tensors -> {
            Tensor logits = tensors.floats(rows, v);
            Tensor dlogits = activations == DType.F32 ? logits : tensors.activations(rows, v);
            return new CrossEntropyOp(logits, tensors.tokens(rows), tensors.floats(1), dlogits, 1f / rows);
        });
        Pass next = Pass.generation(batch, 1);
        time(Shape.of(batch, 1, v), next, tensors -> {
            RandomStream stream = tensors.stream(RandomStream.SAMPLE);
            return new SampleOp(tensors.floats(batch, v), Sampling.PLAIN, stream, null, tensors.tokens(batch));
        });
        time(Shape.of(batch, t), pass, tensors -> new AppendOp(tensors.tokens(rows), tensors.tokens(batch)));
        time(Shape.of(1), ONE_ROW, tensors -> new IncrementOp(tensors.number(1)));
    }

    private void optimizer() {
        int n = Math.toIntExact(LanguageModel.parametersOf(model).size());
        time(Shape.of(n), ONE_ROW, tensors -> new ZeroOp(tensors.floats(1, n)));
        time(Shape.of(2, n), ONE_ROW, tensors -> {
            return new SumOp(List.of(tensors.floats(n), tensors.floats(n)), false, tensors.floats(n));
        });
        time(Shape.of(n), ONE_ROW, tensors -> new GradNormOp(tensors.floats(n), tensors.floats(1)));
        time(Shape.of(n), ONE_ROW, tensors -> {
            Tensor params = tensors.floats(n);
            Tensor matmulWeights = activations == DType.F32 ? params : tensors.activations(n);
            AdamWOp.State state =
                    new AdamWOp.State(params, matmulWeights, tensors.floats(n), tensors.floats(n), tensors.floats(n));
            AdamWSettings settings = new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.01f, 0);
            return new AdamWOp(state, tensors.floats(1), tensors.number(1), tensors.floats(1), settings);
        });
    }

    // ---------------------------------------------------------------------------------------------- tensors

    /** Tensors and other operands of operations. */
    private final class Tensors {
        private static final float[] VALUES = values();

        private final Arena arena;

        Tensors(Arena arena) {
            this.arena = arena;
        }

        /**
         * Values from 0 to 1, so that they can also be moments and inverse deviations; not zeros, on which GPUs are
         * faster.
         */
        private static float[] values() {
            SplittableRandom random = new SplittableRandom(SEED);
            float[] values = new float[1 << 20];
            for (int i = 0; i < values.length; i++) {
                values[i] = random.nextFloat();
            }
            return values;
        }

        /** Gives floats random values. */
        static void fill(Tensor tensor) {
            for (long start = 0; start < tensor.size(); start += VALUES.length) {
                int length = (int) Math.min(VALUES.length, tensor.size() - start);
                tensor.slice(start, Shape.of(length)).write(Arrays.copyOf(VALUES, length));
            }
        }

        Tensor of(DType dtype, int... dims) {
            return arena.allocate(dtype, Shape.of(dims));
        }

        Tensor floats(int... dims) {
            return of(DType.F32, dims);
        }

        Tensor activations(int... dims) {
            return of(activations, dims);
        }

        /** Random rows of 8 bits. */
        Int8Rows int8(int rows, int c) {
            Int8Rows q = Int8Rows.allocate(arena, Quantization.B158, rows, c);
            byte[] random = new byte[(int) q.values().size()];
            new Random(SEED).nextBytes(random);
            q.values().write(random);
            return q;
        }

        /** Ternary weights. */
        PackedWeights packed(int out, int in) {
            PackedWeights weights = PackedWeights.allocate(arena, Quantization.B158, out, in);
            weights.write(PackedMatrix.pack(Quantization.B158, Arrays.copyOf(VALUES, out * in), 0, out, in, 1));
            return weights;
        }

        Tensor tokens(int n) {
            Tensor tensor = of(DType.I32, n);
            tensor.write(
                    new SplittableRandom(SEED).ints(n, 0, model.vocabSize()).toArray());
            return tensor;
        }

        Tensor number(int value) {
            Tensor tensor = of(DType.I32, 1);
            tensor.write(value);
            return tensor;
        }

        RandomStream stream(int purpose) {
            return new RandomStream(SEED, purpose, number(1));
        }

        /** The model's dropout; null if it has none. */
        Dropout dropout() {
            return model.dropout() > 0 ? new Dropout(model.dropout(), stream(RandomStream.dropout(0))) : null;
        }

        ResidualOp residual() {
            int c = model.embeddingDim();
            Tensor x = activations(rows, c);
            return new ResidualOp(x, activations(rows, c), floats(c), dropout(), activations(rows, c));
        }

        ResidualGradOp residualGrad(Tensor dsum) {
            int c = model.embeddingDim();
            return new ResidualGradOp(dsum, dropout(), activations(rows, c), floats(c));
        }

        LayerNormOp layerNorm(ResidualOp residual) {
            int c = model.embeddingDim();
            Tensor x = residual == null ? activations(rows, c) : residual.sum();
            Tensor out = activations(rows, c);
            return new LayerNormOp(residual, x, floats(c), floats(c), out, floats(rows, 2), null);
        }

        LayerNormGradOp layerNormGrad(Tensor dx, ResidualGradOp residual) {
            int c = model.embeddingDim();
            return new LayerNormGradOp(layerNorm(null), activations(rows, c), dx, floats(c), floats(c), residual);
        }

        LayerNormOp layerNormInt8(ResidualOp residual, Tensor x) {
            int c = model.embeddingDim();
            Tensor out = floats(rows, c);
            return new LayerNormOp(residual, x, floats(c), floats(c), out, floats(rows, 2), int8(rows, c));
        }

        AttentionOp attention(int heads, int width) {
            Tensor qkv = activations(rows, 3 * width);
            return new AttentionOp(qkv, activations(rows, width), floats(rows, 2 * heads), dropout(), heads);
        }
    }

    // ---------------------------------------------------------------------------------------------- timing

    /** Times an operation of the backend, which {@code make} makes on new tensors each time. */
    private void time(Shape shape, Pass pass, Function<Tensors, Operation> make) {
        time(0, shape, pass, make);
    }

    /** The same for an operation with so many multiplications and additions. */
    private void time(long flops, Shape shape, Pass pass, Function<Tensors, Operation> make) {
        Operation described = make.apply(new Tensors(new MeasuringArena()));
        boolean bf16 = described.operands().list().stream()
                .anyMatch(operand -> operand.tensor().dtype() == DType.BF16);
        Subject subject = new Subject(
                OperationName.of(described), null, bf16 ? DType.BF16 : DType.F32, shape, described.bytes(pass), flops);
        time(subject, arena -> {
            Operation operation = make.apply(new Tensors(arena));
            operation.operands().list().forEach(KernelBenchmark::fill);
            return () -> operation.run(backend, pass);
        });
    }

    /** Fills an operand that is read with random values, unless it has values already. */
    private static void fill(Operand operand) {
        DType dtype = operand.tensor().dtype();
        boolean read = operand.access() == Access.READ || operand.access() == Access.UPDATE;
        if (read && (dtype == DType.F32 || dtype == DType.BF16)) {
            Tensors.fill(operand.tensor());
        }
    }

    /**
     * Times the same operation of the device's library, if there is one that supports such tensors.
     *
     * @param moved number of tensors of that shape that are read or written; one that is both counts twice
     */
    private void byLibrary(
            String operation, Shape shape, int moved, BiFunction<LibraryOperations, List<Tensor>, Runnable> prepare) {
        library.ifPresent(other -> {
            long bytes = moved * shape.size() * activations.bytes();
            try {
                time(new Subject(operation, other.library(), activations, shape, bytes, 0), arena -> {
                    List<Tensor> tensors = new ArrayList<>();
                    for (int i = 0; i < moved; i++) {
                        tensors.add(arena.allocate(activations, shape));
                        Tensors.fill(tensors.get(i));
                    }
                    return prepare.apply(other, tensors);
                });
            } catch (UnsupportedOperationException e) {
                log.warn("{} is not set beside {}: {}", operation, other.library(), e.getMessage());
            }
        });
    }

    /** Times a product (rows, in, out) alone, by the library that has it in this precision, on its own operands. */
    private void byLibrary(String operation, String precision, int in, int out) {
        for (MatmulCandidate product : backend.products()) {
            if (product.library().isPresent() && product.name().equals(precision) && product.supports(rows, out, in)) {
                DType dtype = precision.equals("bf16") ? DType.BF16 : DType.F32;
                long sums = (long) Float.BYTES * rows * out;
                long bytes = product.weightBytes(out, in) + product.weightBytes(rows, in) + sums;
                Subject subject = new Subject(
                        operation,
                        product.library().get(),
                        dtype,
                        Shape.of(rows, in, out),
                        bytes,
                        2L * rows * in * out);
                time(
                        subject,
                        arena -> product.prepare(arena, out, in, 1)
                                .products(arena, rows)
                                .get(0));
            }
        }
    }

    private void time(Subject subject, Function<Arena, Runnable> prepare) {
        Benchmark.Timing timing = null;
        Throwable failure = null;
        try (Arena arena = backend.newArena()) {
            long sets = subject.bytes <= CACHED_BYTES ? 1 : 1 + OperationTimer.ROTATED_BYTES / subject.bytes;
            List<Runnable> operations = new ArrayList<>();
            while (operations.size() < sets) {
                operations.add(prepare.apply(arena));
            }
            timing = timer.time(arena, operations);
        } catch (UnsupportedOperationException e) {
            throw e;
        } catch (RuntimeException | OutOfMemoryError e) {
            failure = e;
        }
        results.accept(new Result(subject, timing, failure));
    }
}
