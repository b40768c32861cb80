package io.github.drakegpt.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.model.Generator;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.model.Scorer;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.QuantizeInt8Op;
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Calls from many threads give what each gives alone, to the bit, and end when a backend is closed. */
@Timeout(120) // what goes wrong among threads may wait for ever
abstract class ConcurrentCalls {
    private static final int V = 13;
    private static final int T = 8;
    private static final Sampling SAMPLING = new Sampling(0.8f, 5, 0.9f);

    abstract Backend open();

    /** How often each call is repeated, in proportion to the device's speed. */
    abstract int repetitions();

    /** A matrix (out, in) of which two workers multiply parts, if the device is fast enough for that. */
    abstract int[] largeMatrix();

    @Test
    void textsOfManyGenerators() throws Exception {
        try (Backend backend = open()) {
            together(8, thread -> {
                try (Generator generator = new Generator(backend, weights(Models.NAMES.get(thread % 6)))) {
                    return texts(generator, thread);
                }
            });
        }
    }

    @Test
    void textsOfOneGenerator() throws Exception {
        try (Backend backend = open();
                Generator generator = new Generator(backend, weights(Models.TRANSFORMER))) {
            together(4, thread -> texts(generator, thread));
        }
    }

    /** On one backend, and on two at once. */
    @Test
    void trainingBesideScoringAndGenerating() throws Exception {
        try (Backend one = open();
                Backend two = open();
                Scorer scorer = new Scorer(one, weights(Models.TRANSFORMER))) {
            together(6, thread -> {
                Backend backend = thread % 2 == 0 ? one : two;
                return switch (thread) {
                    case 0, 1, 2 -> trained(backend, thread);
                    case 3 -> {
                        try (Generator generator = new Generator(backend, weights(Models.TRANSFORMER))) {
                            yield texts(generator, thread);
                        }
                    }
                    default -> scores(scorer, thread);
                };
            });
        }
    }

    @Test
    void productsWithSharedPackedWeights() throws Exception {
        int out = largeMatrix()[0];
        int in = largeMatrix()[1];
        try (Backend backend = open();
                Arena arena = backend.newArena()) {
            PackedWeights shared = PackedWeights.allocate(arena, Quantization.B158, out, in);
            shared.write(PackedMatrix.pack(Quantization.B158, values(1, out * in), 0, out, in, 1));
            together(4, thread -> {
                try (Arena own = backend.newArena()) {
                    int rows = 2;
                    Pass pass = Pass.evaluation(1, rows);
                    Tensor x = own.allocate(DType.F32, rows, in);
                    Tensor y = own.allocate(DType.F32, rows, out);
                    Int8Rows rounded = Int8Rows.allocate(own, Quantization.B158, rows, in);
                    List<Object> results = new ArrayList<>();
                    for (int i = 0; i < repetitions(); i++) {
                        x.write(values(10 * thread + i, rows * in));
                        backend.quantizeInt8(new QuantizeInt8Op(x, rounded), pass);
                        backend.packedLinear(new PackedLinearOp(rounded, shared, null, false, y), pass);
                        results.add(Arrays.hashCode(y.toFloats()));
                    }
                    return results;
                }
            });
        }
    }

    @Test
    void closingWaitsForATextAndLaterCallsSayClosed() throws Exception {
        Backend backend = open();
        Generator generator = new Generator(backend, weights(Models.TRANSFORMER));
        CountDownLatch begun = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        List<Integer> text = new ArrayList<>();
        ExecutorService pool = Executors.newFixedThreadPool(1);
        try {
            Future<?> writing = pool.submit(() -> generator.generate(new int[] {1}, 20, SAMPLING, 1, 0, true, token -> {
                text.add(token);
                begun.countDown();
                await(go);
            }));
            begun.await();
            Thread closing = new Thread(generator::close);
            closing.start();
            while (closing.getState() != Thread.State.WAITING) {
                Thread.onSpinWait();
            }
            go.countDown();
            writing.get();
            closing.join();
        } finally {
            pool.shutdown();
        }
        assertThat(text).hasSize(20);
        assertThatIllegalStateException()
                .isThrownBy(() -> texts(generator, 0))
                .withMessage("The generator is closed; create another one.");
        generator.close();
        backend.close();
        backend.close();
        assertClosed(() -> backend.newArena());
        assertClosed(() -> backend.parallel(3, task -> {}));
        assertClosed(() -> new Scorer(backend, weights(Models.BIGRAM)));
    }

    @Test
    void aSinkCannotUseItsGenerator() {
        try (Backend backend = open();
                Generator generator = new Generator(backend, weights(Models.BIGRAM))) {
            assertThatIllegalStateException()
                    .isThrownBy(() ->
                            generator.generate(new int[] {1}, 5, SAMPLING, 1, 0, true, token -> texts(generator, 0)))
                    .withMessageContaining("called by what it calls");
            Runnable close = generator::close;
            assertThatIllegalStateException()
                    .isThrownBy(() -> generator.generate(new int[] {1}, 5, SAMPLING, 1, 0, true, token -> close.run()))
                    .withMessageContaining("called by what it calls");
            assertThat(texts(generator, 0)).isNotEmpty();
        }
    }

    @Test
    void aTaskCannotCloseItsBackend() {
        try (Backend backend = open()) {
            Runnable close = backend::close;
            assertThatIllegalStateException()
                    .isThrownBy(() -> backend.parallel(2, task -> close.run()))
                    .withMessage("A backend cannot be closed by its own work; close it after that.");
            backend.newArena().close();
        }
    }

    /** Threads that still work when their backend is closed get their result or hear that it is closed. */
    @Test
    void closingAmongCalls() throws Exception {
        Weights weights = weights(Models.TRANSFORMER);
        List<Object> expected;
        try (Backend backend = open();
                Generator generator = new Generator(backend, weights)) {
            expected = texts(generator, 0);
        }
        for (int i = 0; i < 5; i++) {
            Backend backend = open();
            CountDownLatch begun = new CountDownLatch(3);
            ExecutorService pool = Executors.newFixedThreadPool(3);
            try {
                List<Future<?>> calls = new ArrayList<>();
                for (int thread = 0; thread < 3; thread++) {
                    Generator generator = new Generator(backend, weights);
                    calls.add(pool.submit(() -> {
                        assertClosed(() -> {
                            while (true) {
                                assertThat(texts(generator, 0)).isEqualTo(expected);
                                begun.countDown();
                            }
                        });
                        generator.close();
                    }));
                }
                begun.await();
                backend.close();
                for (Future<?> call : calls) {
                    call.get();
                }
            } finally {
                pool.shutdown();
            }
        }
    }

    @Test
    void nothingIsLeftOfManyBackends() throws IOException {
        use(); // what is loaded once
        int threads = Thread.getAllStackTraces().size();
        long files = openFiles();
        for (int i = 0; i < 100; i++) {
            use();
        }
        assertThat(Thread.getAllStackTraces().size()).isLessThanOrEqualTo(threads + 1); // the JVM's own come and go
        assertThat(openFiles()).isLessThanOrEqualTo(files + 1);
    }

    private void use() {
        try (Backend backend = open();
                Scorer scorer = new Scorer(backend, weights(Models.BIGRAM))) {
            assertThat(scorer.score(new int[] {1, 2, 3}).nll()).isPositive();
        }
    }

    private static long openFiles() throws IOException {
        Path open = Path.of("/proc/self/fd");
        if (!Files.isDirectory(open)) {
            return 0;
        }
        try (Stream<Path> files = Files.list(open)) {
            return files.count();
        }
    }

    // ---------------------------------------------------------------------------------------------- calls

    private interface Call {
        List<Object> results(int thread);
    }

    /** Each thread's results alone, then at the same time. */
    private static void together(int threads, Call call) throws Exception {
        List<List<Object>> alone = new ArrayList<>();
        for (int thread = 0; thread < threads; thread++) {
            alone.add(call.results(thread));
        }
        ExecutorService pool = Executors.newFixedThreadPool(threads);
        try {
            CountDownLatch start = new CountDownLatch(threads);
            List<Callable<List<Object>>> calls = new ArrayList<>();
            for (int i = 0; i < threads; i++) {
                int thread = i;
                calls.add(() -> {
                    start.countDown();
                    start.await();
                    return call.results(thread);
                });
            }
            List<Future<List<Object>>> results = pool.invokeAll(calls);
            for (int thread = 0; thread < threads; thread++) {
                assertThat(results.get(thread).get()).as("thread %s", thread).isEqualTo(alone.get(thread));
            }
        } finally {
            pool.shutdown();
        }
    }

    private List<Object> texts(Generator generator, int thread) {
        List<Object> texts = new ArrayList<>();
        for (int i = 0; i < repetitions(); i++) {
            List<Integer> text = new ArrayList<>();
            generator.generate(new int[] {thread % V, 2}, 20, SAMPLING, thread, i, true, text::add);
            texts.add(text);
        }
        return texts;
    }

    private List<Object> scores(Scorer scorer, int thread) {
        int[] text = new Random(thread).ints(3 * 2048 + 5, 0, V).toArray();
        List<Object> scores = new ArrayList<>();
        for (int i = 0; i < Math.max(1, repetitions() / 10); i++) {
            scores.add(scorer.score(text));
            scores.add(Arrays.hashCode(scorer.predict(text)));
        }
        return scores;
    }

    /** The losses and weights of some steps. */
    private List<Object> trained(Backend backend, int seed) {
        char[] corpus = new char[500];
        for (int i = 0; i < corpus.length; i++) {
            corpus[i] = (char) (i * i % V);
        }
        List<Object> results = new ArrayList<>();
        try (TrainingStep step = TrainingStep.create(backend, config(Models.TRANSFORMER), config(seed), corpus)) {
            for (int number = 1; number <= Math.max(3, repetitions() / 2); number++) {
                step.run(number);
                results.add(step.loss());
            }
            results.add(Arrays.hashCode(step.weights().toFloats()));
        }
        return results;
    }

    private static Weights weights(String name) {
        return Weights.of(config(name), LanguageModel.parametersOf(config(name)).initialValues(5));
    }

    private static ModelConfig config(String name) {
        return new ModelConfig(name, V, T, 16, 16, 2, 2, 0.3f, true, Init.PYTORCH, Quantization.NONE, false);
    }

    /** Of a batch that a CPU splits into two. */
    private TrainConfig config(int seed) {
        int batch = Math.min(32, 2 * repetitions());
        List<Float> betas = List.of(0.9f, 0.95f);
        return new TrainConfig(
                batch, 100, 100, 2, Schedule.BITNET, 0.002, 0.01, 2, 5, 11, betas, 1e-8f, 0.1f, 0.25f, 2, 0, seed);
    }

    private static float[] values(long seed, int n) {
        Random random = new Random(seed);
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = 2 * random.nextFloat() - 1;
        }
        return values;
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void assertClosed(ThrowingCallable call) {
        assertThatIllegalStateException().isThrownBy(call).withMessage("The backend is closed; create another one.");
    }
}
