package io.github.drakegpt.backend.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.GatherBatchOp;
import io.github.drakegpt.ops.GradNormOp;
import io.github.drakegpt.ops.Operation;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.ops.SumOp;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.function.IntConsumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60) // what goes wrong among threads may wait for ever
class WorkersTest {
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 5, 16})
    void everyTaskRunsOnce(int threads) {
        try (Workers workers = new Workers(threads)) {
            assertThat(workers.count()).isEqualTo(threads);
            for (int tasks : new int[] {0, 1, 2, 3, 4, 7, 15, 16, 17, 100, 1000}) {
                AtomicIntegerArray runs = new AtomicIntegerArray(tasks + 1);
                workers.run(tasks, runs::incrementAndGet);
                for (int i = 0; i <= tasks; i++) {
                    assertThat(runs.get(i)).as("task %d of %d", i, tasks).isEqualTo(i < tasks ? 1 : 0);
                }
            }
        }
    }

    @Test
    void tasksRunSideBySide() {
        try (Workers workers = new Workers(3)) {
            CountDownLatch all = new CountDownLatch(3);
            workers.run(3, i -> {
                all.countDown();
                try {
                    assertThat(all.await(30, TimeUnit.SECONDS)).isTrue();
                } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                }
            });
        }
    }

    /** Whatever the number of threads, tasks within a task run on its thread, one after the other; a failure ends it. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 5})
    void aTaskMayRunTasks(int threads) {
        try (Workers workers = new Workers(threads)) {
            for (int round = 0; round < 100; round++) {
                AtomicIntegerArray runs = new AtomicIntegerArray(8 * 20);
                workers.run(8, outer -> {
                    Thread thread = Thread.currentThread();
                    workers.run(20, inner -> {
                        assertThat(Thread.currentThread()).isSameAs(thread);
                        runs.incrementAndGet(outer * 20 + inner);
                    });
                });
                for (int i = 0; i < runs.length(); i++) {
                    assertThat(runs.get(i)).isEqualTo(1);
                }
            }
            RuntimeException failure = new IllegalStateException("inner");
            assertThatThrownBy(() -> workers.run(8, outer -> workers.run(20, inner -> throwUnchecked(failure))))
                    .isSameAs(failure);
            everyTaskRuns(workers);
        }
    }

    /** Plain arrays: only what the pool publishes lets one thread see what another has written. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 5})
    void eachRoundSeesWhatTheOneBeforeHasWritten(int threads) throws InterruptedException {
        int n = 64;
        long[] current = new long[n];
        long[] next = new long[n];
        for (int i = 0; i < n; i++) {
            current[i] = i;
        }
        long[] expected = current.clone();
        try (Workers workers = new Workers(threads)) {
            for (int round = 0; round < 3000; round++) {
                long[] from = current;
                long[] to = next;
                IntConsumer mix = i -> to[i] = from[i] * 31 + from[(i + 7) % n];
                workers.run(n, mix);
                long[] before = expected.clone();
                Arrays.setAll(expected, i -> before[i] * 31 + before[(i + 7) % n]);
                assertThat(to).isEqualTo(expected);
                current = to;
                next = from;
                if (round % 500 == 0) {
                    Thread.sleep(2); // long enough for idle threads to fall asleep
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3})
    void aFailureIsThrownAndThePoolGoesOn(int threads) {
        try (Workers workers = new Workers(threads)) {
            for (Throwable failure :
                    new Throwable[] {new IllegalArgumentException("bad"), new StackOverflowError("deep")}) {
                for (int failing : new int[] {0, 5, 19}) {
                    assertThatThrownBy(() -> workers.run(20, i -> {
                                if (i == failing) {
                                    throwUnchecked(failure);
                                }
                            }))
                            .isSameAs(failure);
                    everyTaskRuns(workers);
                }
                assertThatThrownBy(() -> workers.run(20, i -> throwUnchecked(failure)))
                        .isSameAs(failure);
                everyTaskRuns(workers);
            }
        }
    }

    private static void throwUnchecked(Throwable failure) {
        if (failure instanceof Error error) {
            throw error;
        }
        throw (RuntimeException) failure;
    }

    private static void everyTaskRuns(Workers workers) {
        AtomicIntegerArray runs = new AtomicIntegerArray(20);
        workers.run(20, runs::incrementAndGet);
        for (int i = 0; i < 20; i++) {
            assertThat(runs.get(i)).isEqualTo(1);
        }
    }

    @Test
    void anInterruptedCallerStillGetsAllItsTasksDone() {
        try (Workers workers = new Workers(3)) {
            Thread.currentThread().interrupt();
            everyTaskRuns(workers);
            assertThat(Thread.interrupted()).isTrue();
        }
    }

    @Test
    void threadsEndWhenThePoolIsClosed() throws InterruptedException {
        Thread[] working = new Thread[4];
        CountDownLatch all = new CountDownLatch(4);
        try (Workers workers = new Workers(4)) {
            workers.run(4, i -> {
                working[i] = Thread.currentThread();
                all.countDown();
                try {
                    all.await();
                } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                }
            });
        }
        for (Thread thread : working) {
            if (thread != Thread.currentThread()) {
                thread.join(30_000);
                assertThat(thread.isAlive()).isFalse();
            }
        }
    }

    // -------------------------------------------------------------------------- no result depends on the number of
    // threads

    @Test
    void trainingIsBitwiseTheSameForAnyNumberOfThreads() {
        // From 24 tokens on, and below: attention works in two ways. Both have more parameters than one thread takes at
        // once.
        for (int context : new int[] {8, 33}) {
            ModelConfig config = new ModelConfig(
                    Models.TRANSFORMER, 40, context, 48, 48, 4, 2, 0.1f, true, Init.PYTORCH, Quantization.NONE, false);
            int[] one = train(config, 1);
            assertThat(train(config, 2)).isEqualTo(one);
            assertThat(train(config, 3)).isEqualTo(one);
        }
    }

    @Test
    void theNumberOfShardsDoesNotDependOnTheThreads() {
        try (Backend one = new CpuBackend(1);
                Backend three = new CpuBackend(3)) {
            for (int batch : new int[] {1, 2, 3, 31, 64, 1000}) {
                for (int length : new int[] {1, 8, 33, 256}) {
                    assertThat(one.shards(batch, length))
                            .isEqualTo(three.shards(batch, length))
                            .isBetween(1, batch);
                }
            }
        }
    }

    /** Bits of the losses, gradient norms and weights of three steps, each over a batch of 7 in 4 parts. */
    private static int[] train(ModelConfig config, int threads) {
        int shards = 4;
        int perShard = 2;
        int batch = 7; // the last part is smaller
        try (Backend backend = new CpuBackend(threads);
                Arena arena = backend.newArena()) {
            Tensor step = arena.allocate(DType.I32, Shape.of(1));
            LanguageModel[] models = new LanguageModel[shards];
            Tensor[] grads = new Tensor[shards];
            Tensor[] losses = new Tensor[shards];
            for (int s = 0; s < shards; s++) {
                LanguageModel sharing = s == 0 ? null : models[0];
                models[s] = LanguageModel.forTraining(
                        config, backend, arena, perShard, new LayerContext.Training(42, step, null), sharing);
                grads[s] = models[s].grads();
                losses[s] = arena.allocate(DType.F32, Shape.of(1));
            }
            Tensor weights = models[0].weights();
            weights.write(models[0].parameters().initialValues(42));
            assertThat(weights.size()).isGreaterThan(1 << 15);
            char[] text = new char[1000];
            for (int i = 0; i < text.length; i++) {
                text[i] = (char) (i * i % config.vocabSize());
            }
            Tensor corpus = arena.allocate(DType.U16, Shape.of(text.length));
            corpus.write(text);
            Tensor grad = arena.allocate(DType.F32, weights.shape());
            Tensor first = arena.allocate(DType.F32, weights.shape());
            Tensor second = arena.allocate(DType.F32, weights.shape());
            Tensor norm = arena.allocate(DType.F32, Shape.of(1));
            Tensor loss = arena.allocate(DType.F32, Shape.of(1));
            Tensor learningRate = arena.allocate(DType.F32, Shape.of(1));
            learningRate.write(1e-3f);
            AdamWSettings settings = new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.01f, 1);
            AdamWOp.State state = new AdamWOp.State(weights, weights, grad, first, second);
            List<Operation> update = List.of(
                    new SumOp(List.of(grads), false, grad),
                    new SumOp(List.of(losses), false, loss),
                    new GradNormOp(grad, norm),
                    new AdamWOp(state, learningRate, step, norm, settings));
            RandomStream stream = new RandomStream(42, RandomStream.TRAIN_BATCH, step);
            int t = config.contextLength();
            float[] results = new float[6];
            for (int i = 0; i < 3; i++) {
                step.write(i + 1);
                backend.parallel(shards, s -> {
                    int firstSequence = s * perShard;
                    int size = Math.min(perShard, batch - firstSequence);
                    LanguageModel model = models[s];
                    Pass pass = Pass.training(size, t, firstSequence);
                    backend.gatherBatch(new GatherBatchOp(corpus, stream, model.tokens(), model.targets()), pass);
                    model.forwardBackward(backend, model.trainingLoss(losses[s], 1f / (batch * t)), pass);
                });
                update.forEach(operation -> operation.run(backend, null));
                results[2 * i] = loss.toFloats()[0];
                results[2 * i + 1] = norm.toFloats()[0];
            }
            float[] trained = weights.toFloats();
            float[] all = Arrays.copyOf(trained, trained.length + results.length);
            System.arraycopy(results, 0, all, trained.length, results.length);
            int[] bits = new int[all.length];
            Arrays.setAll(bits, i -> Float.floatToRawIntBits(all[i]));
            return bits;
        }
    }
}
