package io.github.drakegpt.backend.cuda;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.Precision;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.nn.Init;
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
import java.util.regex.Pattern;
import java.util.stream.IntStream;

/**
 * Whether anything runs on a device at all, within seconds, for {@code gpu-check}: each file of kernels is loaded, each kernel
 * runs once, and each model takes a training step, whose loss is set beside the CPU's. What the kernels compute is for the tests.
 */
final class Smoke {
    private static final Pattern ENTRY = Pattern.compile("\\.entry\\s+(\\w+)");
    private static final int ROWS = 3;
    private static final int BATCH = 2;
    private static final int CONTEXT = 8;
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
                new Operations(backend).run();
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
    private final class Operations {
        private final CudaBackend backend;
        private final DType type;
        private Arena arena;

        Operations(CudaBackend backend) {
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

        private Tensor floats(int n) {
            return floats(DType.F32, n);
        }

        private Tensor activations(int n) {
            return floats(type, n);
        }

        /** From 0 to 1, so that they can also be moments and inverse deviations. */
        private Tensor floats(DType dtype, int n) {
            float[] values = new float[n];
            for (int i = 0; i < n; i++) {
                values[i] = (i * 37 % 101) / 101f;
            }
            Tensor tensor = arena.allocate(dtype, Shape.of(n));
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
            attempt(
                    "linear of many logits",
                    () -> backend.linear(
                            activations(LONG * SHORT),
                            activations(TOKENS * SHORT),
                            floats(TOKENS),
                            false,
                            floats(LONG * TOKENS),
                            LONG,
                            SHORT,
                            TOKENS));
            for (int c : new int[] {SHORT, LONG, LONGER}) {
                int n = ROWS * c;
                attempt(
                        "linear " + c,
                        () -> backend.linear(
                                activations(n), activations(c * c), floats(c), true, activations(n), ROWS, c, c));
                attempt(
                        "linearGrad " + c,
                        () -> backend.linearGrad(
                                activations(n),
                                activations(c * c),
                                activations(n),
                                activations(n),
                                floats(c * c),
                                floats(c),
                                ROWS,
                                c,
                                c));
                attempt("reluGrad " + c, () -> backend.reluGrad(activations(n), activations(n), floats(c), ROWS, c));
                attempt(
                        "residual " + c,
                        () -> backend.residual(
                                activations(n), activations(n), floats(c), dropout(), 0, activations(n), ROWS, c));
                attempt(
                        "residualGrad " + c,
                        () -> backend.residualGrad(activations(n), dropout(), 0, activations(n), floats(c), ROWS, c));
                attempt(
                        "layerNorm " + c,
                        () -> backend.layerNorm(
                                activations(n), floats(c), floats(c), activations(n), floats(2 * ROWS), ROWS, c));
                attempt(
                        "residualNorm " + c,
                        () -> backend.residualNorm(
                                activations(n),
                                activations(n),
                                floats(c),
                                dropout(),
                                0,
                                activations(n),
                                floats(c),
                                floats(c),
                                activations(n),
                                floats(2 * ROWS),
                                ROWS,
                                c));
                attempt(
                        "layerNormGrad " + c,
                        () -> backend.layerNormGrad(
                                activations(n),
                                floats(c),
                                floats(2 * ROWS),
                                activations(n),
                                activations(n),
                                floats(c),
                                floats(c),
                                ROWS,
                                c));
                attempt(
                        "residualNormGrad " + c,
                        () -> backend.residualNormGrad(
                                activations(n),
                                floats(c),
                                floats(2 * ROWS),
                                activations(n),
                                activations(n),
                                floats(c),
                                floats(c),
                                dropout(),
                                0,
                                activations(n),
                                floats(c),
                                ROWS,
                                c));
                attempt(
                        "rmsNorm " + c,
                        () -> backend.rmsNorm(activations(n), floats(c), activations(n), floats(ROWS), ROWS, c));
                attempt(
                        "rmsNormGrad " + c,
                        () -> backend.rmsNormGrad(
                                activations(n),
                                floats(c),
                                floats(ROWS),
                                activations(n),
                                activations(n),
                                floats(c),
                                ROWS,
                                c));
                attempt("quantizeRows " + c, () -> backend.quantizeRows(activations(n), null, activations(n), ROWS, c));
                attempt(
                        "quantizeWeights " + c,
                        () -> backend.quantizeWeights(
                                floats(2 * n), Quantization.B158, null, activations(2 * n), 2, n));
                attempt("softmax " + c, () -> backend.softmax(activations(n), activations(n), false, ROWS, c));
                attempt(
                        "softmaxGrad " + c,
                        () -> backend.softmaxGrad(activations(n), activations(n), activations(n), false, ROWS, c));
                attempt(
                        "crossEntropy " + c,
                        () -> backend.crossEntropy(floats(n), tokens(ROWS), floats(1), activations(n), 1, ROWS, c));
                attempt("adamW " + c, () -> adamW(c));
                if (type == DType.F32) {
                    int8(c);
                }
            }
            attention();
            tokens();
        }

        private void adamW(int n) {
            Tensor params = floats(n);
            Tensor norm = floats(1);
            backend.norm(params, norm);
            backend.adamW(
                    params,
                    type == DType.F32 ? params : activations(n),
                    floats(n),
                    floats(n),
                    floats(n),
                    floats(1),
                    number(1),
                    norm,
                    new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.01f, 1));
        }

        /** What is in fp32 only: rows rounded to 8 bits, and products with packed weights. */
        private void int8(int c) {
            int n = ROWS * c;
            Quantization b158 = Quantization.B158;
            attempt(
                    "quantizeInt8 " + c,
                    () -> backend.quantizeInt8(floats(n), Int8Rows.allocate(arena, b158, ROWS, c), ROWS, c));
            attempt(
                    "rmsNormInt8 " + c,
                    () -> backend.rmsNormInt8(
                            floats(n),
                            floats(c),
                            floats(n),
                            floats(ROWS),
                            Int8Rows.allocate(arena, b158, ROWS, c),
                            ROWS,
                            c));
            attempt(
                    "layerNormInt8 " + c,
                    () -> backend.layerNormInt8(
                            floats(n),
                            floats(c),
                            floats(c),
                            floats(n),
                            floats(2 * ROWS),
                            Int8Rows.allocate(arena, b158, ROWS, c),
                            ROWS,
                            c));
            attempt("sum " + c, () -> backend.sum(new Tensor[] {floats(c), floats(c)}, 2, false, floats(c)));
            for (Quantization quantization : List.of(Quantization.BITNET, b158)) {
                for (PackedPath path : PackedPath.values()) {
                    String by = " " + path.title() + ", " + quantization.label();
                    attempt("packedLinear " + c + by, () -> packedLinear(path, quantization, c));
                }
            }
        }

        private void packedLinear(PackedPath path, Quantization quantization, int c) {
            int rows = path.leastRows();
            Int8Rows x = Int8Rows.allocate(arena, quantization, rows, c);
            backend.quantizeInt8(floats(rows * c), x, rows, c);
            PackedWeights w = PackedWeights.allocate(arena, quantization, SHORT, c);
            float[] weights = floats(SHORT * c).toFloats();
            w.write(PackedMatrix.pack(quantization, weights, 0, SHORT, c, 1));
            backend.packedLinear(path, x, w, floats(SHORT), true, floats(rows * SHORT), rows);
        }

        private void attention() {
            for (int size : CudaBackend.HEAD_SIZES) {
                int rows = BATCH * CONTEXT; // of one head
                int n = rows * size;
                attempt(
                        "attention " + size,
                        () -> backend.attention(
                                activations(3 * n),
                                activations(n),
                                floats(2 * rows),
                                dropout(),
                                0,
                                BATCH,
                                CONTEXT,
                                1,
                                size));
                attempt(
                        "attentionGrad " + size,
                        () -> backend.attentionGrad(
                                activations(3 * n),
                                activations(n),
                                floats(2 * rows),
                                activations(n),
                                activations(3 * n),
                                dropout(),
                                0,
                                BATCH,
                                CONTEXT,
                                1,
                                size));
                attempt(
                        "attentionCached " + size,
                        () -> backend.attentionCached(
                                activations(BATCH * 3 * size),
                                activations(2 * n),
                                number(CONTEXT - 1),
                                activations(BATCH * size),
                                BATCH,
                                1,
                                CONTEXT,
                                1,
                                size));
            }
            int longer = 2 * CONTEXT; // more new tokens at a time than are taken one by one
            attempt(
                    "attentionCached of a prompt",
                    () -> backend.attentionCached(
                            activations(longer * 3 * SHORT),
                            activations(longer * 2 * SHORT),
                            number(0),
                            activations(longer * SHORT),
                            1,
                            longer,
                            longer,
                            1,
                            SHORT));
        }

        private void tokens() {
            int rows = BATCH * CONTEXT;
            attempt("gatherBatch", () -> {
                Tensor corpus = arena.allocate(DType.U16, Shape.of(CORPUS.length));
                corpus.write(CORPUS);
                backend.gatherBatch(
                        corpus, stream(RandomStream.TRAIN_BATCH), 0, tokens(rows), tokens(rows), BATCH, CONTEXT);
            });
            attempt(
                    "embedding",
                    () -> backend.embedding(
                            tokens(rows),
                            floats(TOKENS * SHORT),
                            floats(CONTEXT * SHORT),
                            null,
                            activations(rows * SHORT),
                            BATCH,
                            CONTEXT,
                            SHORT));
            attempt(
                    "embeddingGrad",
                    () -> backend.embeddingGrad(
                            tokens(rows),
                            activations(rows * SHORT),
                            floats(TOKENS * SHORT),
                            floats(CONTEXT * SHORT),
                            BATCH,
                            CONTEXT,
                            SHORT));
            attempt(
                    "sample",
                    () -> backend.sample(
                            floats(BATCH * TOKENS),
                            Sampling.PLAIN,
                            stream(RandomStream.SAMPLE),
                            null,
                            tokens(BATCH),
                            BATCH,
                            1,
                            TOKENS));
            attempt("append", () -> backend.append(tokens(rows), tokens(BATCH), BATCH, CONTEXT));
            attempt("increment", () -> backend.increment(number(1)));
            attempt("copy to bf16", () -> backend.copy(floats(LONG), floats(DType.BF16, LONG), LONG));
            attempt("copy to fp32", () -> backend.copy(floats(DType.BF16, LONG), floats(LONG), LONG));
        }
    }
}
