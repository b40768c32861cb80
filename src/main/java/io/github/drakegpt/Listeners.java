package io.github.drakegpt;

import io.github.drakegpt.train.TrainingResult;
import java.io.IOException;
import java.util.Iterator;
import java.util.List;

/** Tells listeners of programs what a trainer tells its own. */
final class Listeners implements io.github.drakegpt.train.TrainingListener, AutoCloseable {
    private final List<TrainingListener> listeners;

    Listeners(List<TrainingListener> listeners) {
        this.listeners = List.copyOf(listeners);
    }

    private record Done(Step step) implements TrainingListener.Step {
        @Override
        public int number() {
            return step.number();
        }

        @Override
        public float loss() {
            return step.loss();
        }

        @Override
        public float gradNorm() {
            return step.gradNorm();
        }

        @Override
        public double learningRate() {
            return step.learningRate();
        }
    }

    @Override
    public void onStep(Step step) throws IOException {
        for (TrainingListener listener : listeners) {
            listener.onStep(new Done(step));
        }
    }

    @Override
    public void onEvaluation(Evaluation evaluation) throws IOException {
        TrainingListener.Evaluation told = new TrainingListener.Evaluation(
                evaluation.step().number(),
                evaluation.trainLoss(),
                evaluation.valLoss(),
                evaluation.best(),
                evaluation.sample());
        for (TrainingListener listener : listeners) {
            listener.onEvaluation(told);
        }
    }

    @Override
    public void onEnd(TrainingResult result) throws IOException {
        TrainingListener.End end = switch (result.end()) {
            case COMPLETED -> TrainingListener.End.COMPLETED;
            case OUT_OF_PATIENCE -> TrainingListener.End.OUT_OF_PATIENCE;
            case INTERRUPTED -> TrainingListener.End.STOPPED;
        };
        for (TrainingListener listener : listeners) {
            listener.onEnd(end);
        }
    }

    /** Closes all of them, whatever one throws. */
    @Override
    public void close() throws IOException {
        close(listeners.iterator());
    }

    private static void close(Iterator<TrainingListener> left) throws IOException {
        if (left.hasNext()) {
            TrainingListener listener = left.next();
            try (listener) {
                close(left);
            }
        }
    }
}
