package io.github.drakegpt.profile;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Measuring.Bound;
import io.github.drakegpt.model.Generator;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.ops.Philox;
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.train.TrainConfig;
import io.github.drakegpt.train.TrainingStep;
import java.util.Arrays;
import java.util.Optional;
import java.util.OptionalDouble;

/** Times whole training steps and whole generated tokens, on random tokens. */
public final class Benchmark {
    private static final int CORPUS_TOKENS = 1_000_000;
    private static final int CORPUS_PURPOSE = 0xFFFF;
    private static final long SEED = 42;
    private static final int MOST_RUNS = 1_000_000;
    /** Nanoseconds of work that make the cost of synchronizing with the host negligible. */
    private static final double ROUND = 2e7;

    private Benchmark() {}

    /**
     * Times of repeated work, in milliseconds.
     *
     * @param runs how often it was timed, after the warm-up
     */
    public record Timing(int runs, double median, double p10, double p90) {
        static Timing of(long[] nanos) {
            long[] sorted = nanos.clone();
            Arrays.sort(sorted);
            return new Timing(
                    nanos.length,
                    sorted[sorted.length / 2] / 1e6,
                    sorted[sorted.length / 10] / 1e6,
                    sorted[sorted.length * 9 / 10] / 1e6);
        }
    }

    /**
     * The most multiplications and additions that a device does in a second: of a GPU in its precision, as its maker
     * gives it; of a CPU, measured for about a second. Empty where neither is known.
     */
    public static OptionalDouble peakFlops(Backend backend) {
        Optional<GpuPeaks> peaks = GpuPeaks.of(backend.description());
        return peaks.isPresent()
                ? OptionalDouble.of(1e12 * peaks.get().teraflops(backend.precision()))
                : backend.measurePeak(Bound.of(backend.precision()));
    }

    /**
     * Times training steps: drawing the batch, forward and backward pass, AdamW. An asynchronous device is given many
     * steps, and their time is divided among them, since training rarely waits for it either.
     *
     * @param seconds how long to measure, after half as long to warm up; three times at least
     */
    public static Timing train(Backend backend, ModelConfig model, TrainConfig config, double seconds) {
        try (TrainingStep step = TrainingStep.create(backend, model, config, randomTokens(model.vocabSize()))) {
            long[] warm = repeat(() -> run(step, step.stepsPerLaunch()), seconds / 2, warmUps(backend));
            int times = worksOn(backend) ? (int) Math.max(1, ROUND / warm[warm.length - 1]) : 1;
            int steps = times * step.stepsPerLaunch();
            return Timing.of(each(repeat(() -> run(step, steps), seconds, 3), steps));
        }
    }

    /** Whether a device may still be computing when an operation returns. */
    private static boolean worksOn(Backend backend) {
        return backend.repetitionsPerLaunch(Integer.MAX_VALUE, 0) > 1;
    }

    /** Runs after which recording is done. */
    private static int warmUps(Backend backend) {
        return worksOn(backend) ? 3 : 1;
    }

    /** Does the next steps, and waits until the device has done them. */
    private static void run(TrainingStep step, int steps) {
        int end = step.number() + steps;
        while (step.number() < end) {
            step.run(step.number() + 1, end);
        }
        step.loss();
    }

    private static long[] each(long[] nanos, int parts) {
        return Arrays.stream(nanos).map(time -> time / parts).toArray();
    }

    /** Repeats {@code work} for some seconds, and at least {@code least} times: the time of each in ns. */
    static long[] repeat(Runnable work, double seconds, int least) {
        long[] nanos = new long[MOST_RUNS];
        int runs = 0;
        long begin = System.nanoTime();
        for (long now = begin; runs < least || now - begin < seconds * 1e9 && runs < MOST_RUNS; runs++) {
            long start = now;
            work.run();
            now = System.nanoTime();
            nanos[runs] = now - start;
        }
        return Arrays.copyOf(nanos, runs);
    }

    /**
     * Times tokens of one text: those that fill the context, with the cache.
     *
     * @param seconds how long to measure, after half as long to warm up
     */
    public static Timing generate(Backend backend, Weights weights, double seconds) {
        try (Generator generator = new Generator(backend, weights)) {
            int length = weights.config().contextLength() - 1;
            int[] sample = new int[1];
            Runnable fill = () ->
                    generator.generate(new int[] {0}, length, Sampling.PLAIN, SEED, sample[0]++, true, token -> {});
            repeat(fill, seconds / 2, warmUps(backend));
            return Timing.of(each(repeat(fill, seconds, 3), length));
        }
    }

    /**
     * Times the steps in which several sequences are each continued by a token: those that fill the context, with the cache.
     *
     * @param seconds how long to measure, after half as long to warm up
     */
    public static Timing generate(Backend backend, Weights weights, int batch, double seconds) {
        try (BatchDecoder decoder = new BatchDecoder(backend, weights, batch, new int[] {0})) {
            int rounds = Math.max(1, decoder.promptLength() / decoder.passesPerLaunch());
            Runnable fill = () -> {
                for (int round = 0; round < rounds; round++) {
                    decoder.decode();
                }
            };
            repeat(fill, seconds / 2, warmUps(backend));
            return Timing.of(each(repeat(fill, seconds, 3), rounds * decoder.passesPerLaunch()));
        }
    }

    private static char[] randomTokens(int vocabSize) {
        char[] tokens = new char[CORPUS_TOKENS];
        int[] words = new int[4];
        Philox.Lanes lanes = new Philox.Lanes();
        for (int i = 0; i < tokens.length; i++) {
            if (i % 4 == 0) {
                Philox.fill(SEED, CORPUS_PURPOSE, 0, i / 4, 1, lanes, words);
            }
            tokens[i] = (char) Philox.below(words[i % 4], vocabSize);
        }
        return tokens;
    }
}
