package io.github.drakegpt.backend.cuda;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.nn.Init;
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
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import io.github.drakegpt.train.Schedule;
import io.github.drakegpt.train.TrainConfig;
import io.github.drakegpt.train.TrainingStep;
import java.io.IOException;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.stream.IntStream;

/**
 * Whether anything runs on a device at all, within seconds, for {@code gpu-check}: each file of kernels is loaded, each kernel
 * runs once, and each model takes a training step, whose loss is set beside the CPU's. What the kernels compute is for the tests.
 */
final class Smoke {
    private static final Pattern ENTRY = Pattern.compile("\\.entry\\s+(\\w+)");
    private static final int ROWS = 3;
    private static final Pass PASS = Pass.training(1, ROWS, 0);
    private static final int BATCH = 2;
    private static final int CONTEXT = 8;
    private static final Pass SEQUENCES = Pass.training(BATCH, CONTEXT, 0);
    private static final int TOKENS = 60; // of a vocabulary
    private static final int SHORT = 40;
    private static final int LONG = 1100; // more than a warp takes
    private static final int LONGER = 2100; // more than the registers of a block take
    private static final double TOLERANCE = 1e-4; // of a loss
    private static final double TOLERANCE_BF16 = 0.02;
    private static final TrainConfig TRAINING = new TrainConfig(
            BATCH, 2, 2, 1, Schedule.CYCLIC, 0.001, 0.005, 5, 0, 0, List.of(0.9f, 0.95f), 1e-8f, 0.01f, 1, 1, 0, 42);
    private static final char[] CORPUS = new char[1000];

    static {
        for (int i = 0; i < CORPUS.length; i++) {
            CORPUS[i] = (char) (i * i % TOKENS);
        }
    }

    private final String device;
    private final Set<String> launched = new TreeSet<>();
    private boolean failed;

    private Smoke(String device) {
        this.device = device;
    }

    /** Takes the name of a device, prints lines of JSON as things are done, and exits with 0 only if all went well. */
    public static void main(String[] args) throws IOException {
        Smoke smoke = new Smoke(args[0]);
        smoke.run();
        System.exit(smoke.failed ? 1 : 0);
    }

    private void run() throws IOException {
        Map<String, String> files = files();
        Set<String> kernels = new TreeSet<>();
        try (CudaBackend backend = open(new BackendOptions(1, Precision.FP32, false))) {
            files.forEach((file, ptx) -> {
                ENTRY.matcher(ptx).results().forEach(entry -> kernels.add(entry.group(1)));
                attempt(row("file", file), row -> backend.kernels().load(file, ptx));
            });
        }
        for (Precision precision : List.of(Precision.FP32, Precision.BF16)) {
            try (CudaBackend backend = open(new BackendOptions(1, precision, false))) {
                new EachOperation(backend).run();
                launched.addAll(backend.kernels().launched());
            }
        }
        for (String model : Models.NAMES) {
            steps(model, Quantization.NONE);
        }
        steps(Models.TRANSFORMER, Quantization.B158);
        steps(Models.TRANSFORMER, Quantization.BITNET);
        kernels.removeAll(launched);
        attempt(row("kernels", "all that were loaded"), row -> {
            if (!kernels.isEmpty()) {
                throw new IllegalStateException("Not run: " + String.join(", ", kernels) + ".");
            }
        });
    }

    private CudaBackend open(BackendOptions options) {
        return (CudaBackend) Backends.create(device, options);
    }

    /** The PTX of each file of kernels, from the folder of classes or from within the jar. */
    private static Map<String, String> files() throws IOException {
        try {
            URI one = Kernels.class.getResource("softmax.ptx").toURI();
            if (!one.getScheme().equals("jar")) {
                return files(Path.of(one).getParent());
            }
            try (FileSystem jar = FileSystems.newFileSystem(one, Map.of())) {
                return files(jar.getPath(Kernels.class.getPackageName().replace('.', '/')));
            }
        } catch (URISyntaxException e) {
            throw new IllegalStateException("The class path has an entry that is no URI", e);
        }
    }

    private static Map<String, String> files(Path folder) throws IOException {
        Map<String, String> files = new TreeMap<>();
        try (DirectoryStream<Path> found = Files.newDirectoryStream(folder, "*.ptx")) {
            for (Path file : found) {
                files.put(file.getFileName().toString().replace(".ptx", ""), Files.readString(file));
            }
        }
        return files;
    }

    // ---------------------------------------------------------------------------------------------- what is printed

    private static ObjectNode row(String kind, String name) {
        return JsonNodeFactory.instance.objectNode().put(kind, name);
    }

    /** Does one thing and prints its line, with the time that it took or what went wrong. */
    private void attempt(ObjectNode row, Consumer<ObjectNode> work) {
        long start = System.nanoTime();
        try {
            work.accept(row);
        } catch (RuntimeException e) {
            failed = true;
            row.put("error", String.valueOf(e.getMessage()));
        }
        System.out.println(row.put("ms", (System.nanoTime() - start) / 10_000 / 100.0));
        System.out.flush();
    }

    // ---------------------------------------------------------------------------------------------- models

    private void steps(String name, Quantization quantization) {
        ModelConfig model =
                new ModelConfig(name, TOKENS, CONTEXT, 32, 32, 4, 3, 0.1f, true, Init.PYTORCH, quantization, false);
        float expected;
        try (Backend cpu = Backends.create("cpu", 1)) {
            expected = loss(cpu, model);
        }
        for (Precision precision : List.of(Precision.FP32, Precision.BF16)) {
            for (boolean fuse : new boolean[] {true, false}) {
                ObjectNode row = row("model", name)
                        .put("quant", quantization.label())
                        .put("precision", precision.label())
                        .put("fuse", fuse)
                        .put("cpu_loss", expected);
                attempt(row, done -> {
                    float loss;
                    try (CudaBackend backend = open(new BackendOptions(1, precision, fuse))) {
                        loss = loss(backend, model);
                        launched.addAll(backend.kernels().launched());
                    }
                    done.put("loss", loss);
                    double tolerance = precision == Precision.FP32 ? TOLERANCE : TOLERANCE_BF16;
                    if (!(Math.abs(loss - expected) <= tolerance)) {
                        throw new IllegalStateException("The loss is not that of the CPU.");
                    }
                });
            }
        }
    }

    /** Of the second step, which the first one's gradients have led to. */
    private float loss(Backend backend, ModelConfig model) {
        try (TrainingStep step = TrainingStep.create(backend, model, TRAINING, CORPUS)) {
            step.run(1);
            step.run(2);
            return step.loss();
        }
    }

    // ---------------------------------------------------------------------------------------------- operations

    /** Every operation, on few rows: of a length that a warp takes, and of two that take a block. */
    private final class EachOperation {
        private final CudaBackend backend;
        private final DType type;
        private Arena arena;

        EachOperation(CudaBackend backend) {
            this.backend = backend;
            this.type = backend.precision().activations();
        }

        /** On tensors that are gone afterwards. */
        private void attempt(String operation, Runnable work) {
            ObjectNode row = row("operation", operation)
                    .put("precision", backend.precision().label());
            Smoke.this.attempt(row, done -> {
                try (Arena opened = backend.newArena()) {
                    arena = opened;
                    work.run();
                    backend.context().synchronize();
                }
            });
        }

        private void attempt(String name, Pass pass, Supplier<Operation> operation) {
            attempt(name, () -> operation.get().run(backend, pass));
        }

        private Tensor floats(int... dims) {
            return floats(DType.F32, dims);
        }

        private Tensor activations(int... dims) {
            return floats(type, dims);
        }

        /** From 0 to 1, so that they can also be moments and inverse deviations. */
        private Tensor floats(DType dtype, int... dims) {
            Tensor tensor = arena.allocate(dtype, Shape.of(dims));
            float[] values = new float[Math.toIntExact(tensor.size())];
            for (int i = 0; i < values.length; i++) {
                values[i] = (i * 37 % 101) / 101f;
            }
            tensor.write(values);
            return tensor;
        }

        private Tensor tokens(int n) {
            Tensor tensor = arena.allocate(DType.I32, Shape.of(n));
            tensor.write(IntStream.range(0, n).map(i -> i % TOKENS).toArray());
            return tensor;
        }

        private Tensor number(int value) {
            Tensor tensor = arena.allocate(DType.I32, Shape.of(1));
            tensor.write(value);
            return tensor;
        }

        private RandomStream stream(int purpose) {
            return new RandomStream(1, purpose, number(1));
        }

        private Dropout dropout() {
            return new Dropout(0.2f, stream(RandomStream.dropout(0)));
        }

        void run() {
            attempt("linear of many logits", Pass.evaluation(1, LONG), () -> {
                Tensor x = activations(LONG, SHORT);
                return new LinearOp(x, activations(TOKENS, SHORT), floats(TOKENS), false, floats(LONG, TOKENS));
            });
            for (int c : new int[] {SHORT, LONG, LONGER}) {
                linear(c);
                norms(c);
                others(c);
                if (type == DType.F32) {
                    int8(c);
                }
            }
            attention();
            tokens();
        }

        private void linear(int c) {
            attempt("linear " + c, PASS, () -> {
                return new LinearOp(activations(ROWS, c), activations(c, c), floats(c), true, activations(ROWS, c));
            });
            attempt("linearGrad " + c, PASS, () -> {
                Tensor x = activations(ROWS, c);
                Tensor dy = activations(ROWS, c);
                return new LinearGradOp(x, activations(c, c), dy, activations(ROWS, c), floats(c, c), floats(c));
            });
            attempt("reluGrad " + c, PASS, () -> {
                return new ReluGradOp(activations(ROWS, c), activations(ROWS, c), floats(c));
            });
        }

        private void norms(int c) {
            attempt("residual " + c, PASS, () -> residual(c));
            attempt("residualGrad " + c, PASS, () -> residualGrad(c, activations(ROWS, c)));
            attempt("layerNorm " + c, PASS, () -> layerNorm(c, null, null));
            attempt("layerNorm of a residual " + c, PASS, () -> layerNorm(c, residual(c), null));
            attempt("layerNormGrad " + c, PASS, () -> layerNormGrad(c, null));
            attempt("layerNormGrad of a residual " + c, PASS, () -> {
                return layerNormGrad(c, residualGrad(c, activations(ROWS, c)));
            });
            attempt("rmsNorm " + c, PASS, () -> rmsNorm(c, null));
            attempt("rmsNormGrad " + c, PASS, () -> {
                Tensor x = activations(ROWS, c);
                Tensor dout = activations(ROWS, c);
                return new RmsNormGradOp(x, floats(c), floats(ROWS), dout, activations(ROWS, c), floats(c));
            });
        }

        private ResidualOp residual(int c) {
            Tensor x = activations(ROWS, c);
            return new ResidualOp(x, activations(ROWS, c), floats(c), dropout(), activations(ROWS, c));
        }

        private ResidualGradOp residualGrad(int c, Tensor dsum) {
            return new ResidualGradOp(dsum, dropout(), activations(ROWS, c), floats(c));
        }

        private LayerNormOp layerNorm(int c, ResidualOp residual, Int8Rows rounded) {
            Tensor x = residual == null ? activations(ROWS, c) : residual.sum();
            Tensor out = activations(ROWS, c);
            return new LayerNormOp(residual, x, floats(c), floats(c), out, floats(ROWS, 2), rounded);
        }

        private LayerNormGradOp layerNormGrad(int c, ResidualGradOp residual) {
            Tensor dx = residual == null ? activations(ROWS, c) : residual.dsum();
            LayerNormOp norm = layerNorm(c, null, null);
            return new LayerNormGradOp(norm, activations(ROWS, c), dx, floats(c), floats(c), residual);
        }

        private RmsNormOp rmsNorm(int c, Int8Rows rounded) {
            return new RmsNormOp(activations(ROWS, c), floats(c), activations(ROWS, c), floats(ROWS), rounded);
        }

        private void others(int c) {
            attempt("quantizeRows " + c, PASS, () -> {
                return new QuantizeRowsOp(activations(ROWS, c), null, activations(ROWS, c));
            });
            attempt("quantizeWeights " + c, PASS, () -> {
                Tensor w = floats(2, ROWS, c);
                return new QuantizeWeightsOp(w, Quantization.B158, 2, null, activations(2, ROWS, c));
            });
            attempt("softmax " + c, PASS, () -> new SoftmaxOp(activations(ROWS, c), activations(ROWS, c), false));
            attempt("softmaxGrad " + c, PASS, () -> {
                return new SoftmaxGradOp(activations(ROWS, c), activations(ROWS, c), activations(ROWS, c), false);
            });
            attempt("crossEntropy " + c, PASS, () -> {
                return new CrossEntropyOp(floats(ROWS, c), tokens(ROWS), floats(1), activations(ROWS, c), 1);
            });
            attempt("sum " + c, PASS, () -> new SumOp(List.of(floats(c), floats(c)), false, floats(c)));
            attempt("gradNorm " + c, PASS, () -> new GradNormOp(floats(c), floats(1)));
            attempt("adamW " + c, PASS, () -> {
                Tensor params = floats(c);
                Tensor matmulWeights = type == DType.F32 ? params : activations(c);
                AdamWOp.State state = new AdamWOp.State(params, matmulWeights, floats(c), floats(c), floats(c));
                AdamWSettings settings = new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.01f, 1);
                return new AdamWOp(state, floats(1), number(1), floats(1), settings);
            });
        }

        /** What is in fp32 only: rows rounded to 8 bits, and products with packed weights. */
        private void int8(int c) {
            attempt("quantizeInt8 " + c, PASS, () -> new QuantizeInt8Op(floats(ROWS, c), int8Rows(c)));
            attempt("rmsNorm to int8 " + c, PASS, () -> rmsNorm(c, int8Rows(c)));
            attempt("layerNorm to int8 " + c, PASS, () -> layerNorm(c, null, int8Rows(c)));
            for (Quantization quantization : List.of(Quantization.BITNET, Quantization.B158)) {
                for (PackedPath path : PackedPath.values()) {
                    String by = " " + path.title() + ", " + quantization.label();
                    attempt("packedLinear " + c + by, () -> packedLinear(path, quantization, c));
                }
            }
        }

        private Int8Rows int8Rows(int c) {
            return Int8Rows.allocate(arena, Quantization.B158, ROWS, c);
        }

        private void packedLinear(PackedPath path, Quantization quantization, int c) {
            int rows = path.leastRows();
            Pass pass = Pass.evaluation(1, rows);
            Int8Rows x = Int8Rows.allocate(arena, quantization, rows, c);
            backend.quantizeInt8(new QuantizeInt8Op(floats(rows, c), x), pass);
            PackedWeights w = PackedWeights.allocate(arena, quantization, SHORT, c);
            float[] weights = floats(SHORT, c).toFloats();
            w.write(PackedMatrix.pack(quantization, weights, 0, SHORT, c, 1));
            backend.packedLinear(path, new PackedLinearOp(x, w, floats(SHORT), true, floats(rows, SHORT)), pass);
        }

        private void attention() {
            int rows = BATCH * CONTEXT;
            for (int size : AttentionKernels.HEAD_SIZES) { // of one head
                attempt("attention " + size, SEQUENCES, () -> attention(rows, size));
                attempt("attentionGrad " + size, SEQUENCES, () -> {
                    return new AttentionGradOp(
                            attention(rows, size), activations(rows, size), activations(rows, 3 * size));
                });
                attempt("attentionCached " + size, Pass.generation(BATCH, 1), () -> {
                    Tensor cache = activations(BATCH, CONTEXT, 2 * size);
                    Tensor out = activations(BATCH, size);
                    return new AttentionCachedOp(activations(BATCH, 3 * size), cache, number(CONTEXT - 1), out, 1);
                });
            }
            int longer = 2 * CONTEXT; // more new tokens at a time than are taken one by one
            attempt("attentionCached of a prompt", Pass.generation(1, longer), () -> {
                Tensor cache = activations(1, longer, 2 * SHORT);
                Tensor out = activations(longer, SHORT);
                return new AttentionCachedOp(activations(longer, 3 * SHORT), cache, number(0), out, 1);
            });
        }

        private AttentionOp attention(int rows, int size) {
            return new AttentionOp(activations(rows, 3 * size), activations(rows, size), floats(rows, 2), dropout(), 1);
        }

        private void tokens() {
            int rows = BATCH * CONTEXT;
            attempt("gatherBatch", SEQUENCES, () -> {
                Tensor corpus = arena.allocate(DType.U16, Shape.of(CORPUS.length));
                corpus.write(CORPUS);
                return new GatherBatchOp(corpus, stream(RandomStream.TRAIN_BATCH), tokens(rows), tokens(rows));
            });
            attempt("embedding", SEQUENCES, () -> {
                Tensor wpe = floats(CONTEXT, SHORT);
                return new EmbeddingOp(tokens(rows), floats(TOKENS, SHORT), wpe, null, activations(rows, SHORT));
            });
            attempt("embeddingGrad", SEQUENCES, () -> {
                Tensor dout = activations(rows, SHORT);
                return new EmbeddingGradOp(tokens(rows), dout, floats(TOKENS, SHORT), floats(CONTEXT, SHORT));
            });
            attempt("sample", Pass.generation(BATCH, 1), () -> {
                RandomStream stream = stream(RandomStream.SAMPLE);
                return new SampleOp(floats(BATCH, TOKENS), Sampling.PLAIN, stream, null, tokens(BATCH));
            });
            attempt("append", SEQUENCES, () -> new AppendOp(tokens(rows), tokens(BATCH)));
            attempt("increment", PASS, () -> new IncrementOp(number(1)));
            attempt("zero", PASS, () -> new ZeroOp(activations(ROWS, SHORT)));
            attempt("copy to bf16", PASS, () -> new CopyOp(floats(LONG), floats(DType.BF16, LONG)));
            attempt("copy to fp32", PASS, () -> new CopyOp(floats(DType.BF16, LONG), floats(LONG)));
        }
    }
}
