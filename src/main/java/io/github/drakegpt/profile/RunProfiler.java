package io.github.drakegpt.profile;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.model.Scorer;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.tensor.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Compares cost and quality of models: time, memory, loss, and how often their most likely token is that of the first
 * model. All read the same tokens, and their times are taken in turns.
 */
public final class RunProfiler {
    /** Numbers of sequences that are continued at once. */
    public static final List<Integer> BATCHES = List.of(1, 8, 64);

    /** The most tokens whose predictions are compared: that takes all their logits. */
    private static final int COMPARED = 100_000;

    private static final int ROUNDS = 5;
    private static final int TRACED = 21;

    private final Backend backend;
    private final List<Subject> subjects;
    private final int[] tokens;
    private final double seconds;

    /** A model to be profiled. */
    public record Subject(String name, Weights weights) {}

    /** Reading the prompts, or drawing one token after another. */
    public enum Phase {
        PREFILL,
        DECODE
    }

    /**
     * @param tokensPerSecond of all sequences together: tokens read, or drawn
     * @param p50 median latency of a prompt, or of a token, in milliseconds
     * @param p90 nine of ten are faster
     */
    public record Speed(Phase phase, int batch, double tokensPerSecond, double p50, double p90) {}

    /**
     * An operation of a pass.
     *
     * @param operation the name of its method in {@link Backend}
     * @param start seconds since the first one began
     */
    public record Span(String operation, double start, double seconds) {}

    /**
     * @param peakBytes device memory with the largest batch: weights, activations, cache
     * @param valLoss over the whole validation split, in nats per token
     * @param agreement share of places where the most likely next token is that of the first model
     * @param groups seconds of each group of operations in the decoding of one token at batch 1
     * @param trace the operations of reading one prompt and of drawing one token, at batch 1
     */
    public record Profile(
            Subject subject,
            long peakBytes,
            double valLoss,
            double agreement,
            List<Speed> speeds,
            Map<String, Double> groups,
            Map<Phase, List<Span>> trace) {}

    /**
     * @param tokens of the whole validation split
     * @param seconds how long to time each model in each phase and batch
     */
    public RunProfiler(Backend backend, List<Subject> subjects, int[] tokens, double seconds) {
        this.backend = backend;
        this.subjects = subjects;
        this.tokens = tokens;
        this.seconds = seconds;
    }

    /** Profiles all models, in their order. */
    public List<Profile> run() {
        List<List<Speed>> speeds = new ArrayList<>();
        subjects.forEach(subject -> speeds.add(new ArrayList<>()));
        long[] peak = new long[subjects.size()];
        for (int batch : BATCHES) {
            time(batch, speeds, peak);
        }
        List<Profile> profiles = new ArrayList<>();
        int[] reference = null;
        int[] compared = Arrays.copyOf(tokens, Math.min(tokens.length, COMPARED));
        for (int i = 0; i < subjects.size(); i++) {
            Subject subject = subjects.get(i);
            try (Scorer scorer = new Scorer(backend, subject.weights())) {
                int[] predicted = scorer.predict(compared);
                reference = reference == null ? predicted : reference;
                Map<Phase, List<Span>> trace = trace(subject);
                profiles.add(new Profile(
                        subject,
                        peak[i],
                        scorer.score(tokens).nll(),
                        agreement(predicted, reference),
                        speeds.get(i),
                        groups(trace.get(Phase.DECODE)),
                        trace));
            }
        }
        return profiles;
    }

    private void time(int batch, List<List<Speed>> speeds, long[] peak) {
        List<BatchDecoder> decoders = new ArrayList<>();
        try {
            for (Subject subject : subjects) {
                decoders.add(new BatchDecoder(backend, subject.weights(), batch, tokens));
            }
            for (Phase phase : Phase.values()) {
                List<long[]> nanos = new ArrayList<>();
                for (BatchDecoder decoder : decoders) {
                    Benchmark.repeat(work(decoder, phase), seconds / 2, 3); // warms up, and records
                    nanos.add(new long[0]);
                }
                for (int round = 0; round < ROUNDS; round++) {
                    for (int i = 0; i < decoders.size(); i++) {
                        long[] more = Benchmark.repeat(work(decoders.get(i), phase), seconds / ROUNDS, 1);
                        long[] all = Arrays.copyOf(nanos.get(i), nanos.get(i).length + more.length);
                        System.arraycopy(more, 0, all, nanos.get(i).length, more.length);
                        nanos.set(i, all);
                    }
                }
                for (int i = 0; i < decoders.size(); i++) {
                    BatchDecoder decoder = decoders.get(i);
                    Benchmark.Timing timing = Benchmark.Timing.of(nanos.get(i));
                    int perRun = phase == Phase.PREFILL ? decoder.promptLength() : decoder.passesPerLaunch();
                    int waits = phase == Phase.PREFILL ? 1 : perRun; // tokens of a run that are drawn one after another
                    speeds.get(i)
                            .add(new Speed(
                                    phase,
                                    batch,
                                    1e3 * batch * perRun / timing.median(),
                                    timing.median() / waits,
                                    timing.p90() / waits));
                }
            }
            for (int i = 0; i < decoders.size(); i++) {
                peak[i] = Math.max(peak[i], decoders.get(i).bytes());
            }
        } finally {
            decoders.forEach(BatchDecoder::close);
        }
    }

    /** Reads one prompt; or draws as many tokens as are drawn at once, cycling through the positions of the context. */
    private static Runnable work(BatchDecoder decoder, Phase phase) {
        return phase == Phase.PREFILL ? decoder::prefill : decoder::decode;
    }

    private Map<Phase, List<Span>> trace(Subject subject) {
        Map<Phase, List<Span>> trace = new LinkedHashMap<>();
        try (Arena arena = backend.newArena()) {
            TimedBackend timed = new TimedBackend(backend, arena);
            try (BatchDecoder decoder = new BatchDecoder(timed.backend(), subject.weights(), 1, tokens)) {
                Runnable prefill = work(decoder, Phase.PREFILL);
                Runnable decode = work(decoder, Phase.DECODE);
                Benchmark.repeat(
                        () -> {
                            prefill.run();
                            decode.run();
                            timed.take();
                        },
                        seconds,
                        3);
                trace.put(Phase.PREFILL, typical(prefill, timed));
                trace.put(Phase.DECODE, typical(decode, timed));
            }
        }
        return trace;
    }

    /** Of several runs, the one with the median time. */
    private static List<Span> typical(Runnable work, TimedBackend timed) {
        List<List<Span>> runs = new ArrayList<>();
        for (int i = 0; i < TRACED; i++) {
            work.run();
            runs.add(timed.take());
        }
        runs.sort(Comparator.comparingDouble(
                spans -> spans.stream().mapToDouble(Span::seconds).sum()));
        return runs.get(TRACED / 2);
    }

    private static Map<String, Double> groups(List<Span> spans) {
        Map<String, Double> groups = new LinkedHashMap<>();
        spans.forEach(span -> groups.merge(group(span.operation()), span.seconds(), Double::sum));
        return groups;
    }

    private static String group(String operation) {
        return switch (operation) {
            case "linear", "packedLinear" -> "matrix products";
            case "attention", "attentionCached" -> "attention";
            case "layerNorm", "residualNorm", "rmsNorm" -> "norms";
            case "quantizeInt8" -> "rounding";
            case "layerNormInt8", "residualNormInt8", "rmsNormInt8" -> "norms with rounding";
            case "embedding" -> "embedding";
            case "sample" -> "sampling";
            default -> "other";
        };
    }

    private static double agreement(int[] predicted, int[] reference) {
        int same = 0;
        for (int i = 0; i < predicted.length; i++) {
            same += predicted[i] == reference[i] ? 1 : 0;
        }
        return (double) same / predicted.length;
    }
}
