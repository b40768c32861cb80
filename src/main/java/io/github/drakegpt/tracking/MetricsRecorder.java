package io.github.drakegpt.tracking;

import io.github.drakegpt.train.TrainingListener;
import io.github.drakegpt.train.TrainingResult;
import java.io.IOException;
import java.util.List;

/**
 * Records training: every evaluation, and ten single steps between two of them. Not every step, since reading its
 * values waits for the device.
 */
public final class MetricsRecorder implements TrainingListener, AutoCloseable {
    private static final int BETWEEN_EVALUATIONS = 10;

    private final List<MetricsSink> sinks;

    private Start start;
    private int interval;
    private int lastStep;
    private double lastSeconds;

    public MetricsRecorder(List<MetricsSink> sinks) {
        this.sinks = sinks;
    }

    @Override
    public void onStart(Start start) throws IOException {
        this.start = start;
        interval = Math.max(1, start.train().evalInterval() / BETWEEN_EVALUATIONS);
        lastStep = start.firstStep() - 1;
        lastSeconds = start.clock().trainSeconds();
        for (MetricsSink sink : sinks) {
            sink.start(start);
        }
    }

    @Override
    public void onStep(Step step) throws IOException {
        boolean evaluated = step.number() % start.train().evalInterval() == 0
                || step.number() == start.train().iters();
        if (step.number() % interval == 0 && !evaluated) {
            record(step, null);
        }
    }

    @Override
    public void onEvaluation(Evaluation evaluation) throws IOException {
        record(evaluation.step(), evaluation);
    }

    private void record(Step step, Evaluation evaluation) throws IOException {
        Double loss = shortest(step.loss()); // first: it waits for the device, after which the time is known
        double seconds = start.clock().trainSeconds();
        double tokens = (double) (step.number() - lastStep)
                * start.train().sequencesPerStep()
                * start.model().contextLength();
        Metrics metrics = new Metrics(
                step.number(),
                loss,
                evaluation == null ? null : evaluation.trainLoss(),
                evaluation == null ? null : evaluation.valLoss(),
                evaluation == null ? null : evaluation.finalValLoss(),
                step.learningRate(),
                shortest(step.gradNorm()),
                Math.round(tokens / (seconds - lastSeconds)),
                evaluation == null ? null : evaluation.peakMemoryBytes(),
                Math.round(start.clock().elapsedSeconds() * 1000) / 1000.0,
                evaluation == null ? null : evaluation.sample().get().orElse(null));
        lastStep = step.number();
        lastSeconds = seconds;
        for (MetricsSink sink : sinks) {
            sink.add(metrics);
        }
    }

    /** The double with the fewest digits that is this float; null for NaN and infinity, which JSON does not have. */
    private static Double shortest(float value) {
        return Float.isFinite(value) ? Double.valueOf(Float.toString(value)) : null;
    }

    @Override
    public void onEnd(TrainingResult result) throws IOException {
        for (MetricsSink sink : sinks) {
            sink.end(result);
        }
    }

    /** Closes all sinks, also if one fails. */
    @Override
    public void close() throws IOException {
        IOException failure = null;
        for (MetricsSink sink : sinks) {
            try {
                sink.close();
            } catch (IOException e) {
                if (failure == null) {
                    failure = e;
                } else {
                    failure.addSuppressed(e);
                }
            }
        }
        if (failure != null) {
            throw failure;
        }
    }
}
