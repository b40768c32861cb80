package io.github.drakegpt.train;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.checkpoint.Checkpoint;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.TrainingState;
import io.github.drakegpt.data.BatchSampler;
import io.github.drakegpt.data.Corpus;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.tensor.RandomStream;
import java.io.IOException;
import java.util.List;
import java.util.function.BooleanSupplier;

/** Trains a model: steps, evaluations, checkpoints, and when to stop. */
public final class Trainer implements AutoCloseable {
    /** Steps after which the loss is checked even if no listener asks for it. */
    private static final int CHECK_INTERVAL = 100;

    private final Backend backend;
    private final ModelConfig modelConfig;
    private final TrainConfig config;
    private final RunFolder run;
    private final List<TrainingListener> listeners;
    private final TrainingStep step;
    private final Evaluator trainEvaluator;
    private final Evaluator valEvaluator;

    private TrainingState state = TrainingState.START;
    private TrainingState saved;

    /**
     * Builds the model with initial weights for the seed.
     *
     * @param run where checkpoints go
     * @throws IllegalArgumentException if the corpus is too short for the model's context
     */
    public Trainer(
            Backend backend,
            ModelConfig modelConfig,
            TrainConfig config,
            Corpus corpus,
            RunFolder run,
            List<TrainingListener> listeners) {
        this.backend = backend;
        this.modelConfig = modelConfig;
        this.config = config;
        this.run = run;
        this.listeners = listeners;
        int length = modelConfig.contextLength();
        step = TrainingStep.create(backend, modelConfig, config, corpus.train());
        try {
            trainEvaluator = evaluator(step.batches().with(step.stream(RandomStream.EVAL_TRAIN_BATCH)));
            valEvaluator = evaluator(new BatchSampler(
                    backend,
                    step.arena(),
                    "validation",
                    corpus.val(),
                    length,
                    step.stream(RandomStream.EVAL_VAL_BATCH)));
        } catch (RuntimeException e) {
            step.close();
            throw e;
        }
    }

    private Evaluator evaluator(BatchSampler split) {
        return new Evaluator(
                backend,
                step.arena(),
                step.replicas(),
                split,
                config.evalIters(),
                config.batchSize(),
                modelConfig.contextLength());
    }

    /** The model's parameters: their names, shapes and places in a flat buffer. */
    public Parameters parameters() {
        return step.parameters();
    }

    /** Starts from these weights instead of the initial ones. */
    public void initializeFrom(float[] flat) {
        step.setWeights(flat);
    }

    /** Continues from a checkpoint of the same run. */
    public void restore(Checkpoint checkpoint) {
        step.setWeights(checkpoint.weights());
        step.firstMoments().write(checkpoint.firstMoments());
        step.secondMoments().write(checkpoint.secondMoments());
        state = checkpoint.state();
        saved = state;
    }

    /**
     * Trains until all iterations are done, patience ends or {@code stop} says so, and saves a checkpoint at every
     * evaluation and at the end.
     *
     * @throws DivergedException if the loss becomes NaN or infinite; the checkpoint before that stays
     * @throws IOException if a checkpoint or a listener's file cannot be written; the checkpoint before that stays
     */
    public TrainingResult train(BooleanSupplier stop) throws IOException {
        TrainingListener.Start start = new TrainingListener.Start(
                modelConfig,
                config,
                backend.name() + ", " + backend.description(),
                parameters().count(),
                step.arena().bytes(),
                state.step() + 1);
        for (TrainingListener listener : listeners) {
            listener.onStart(start);
        }
        TrainingResult.End end = loop(stop);
        if (saved == null || saved.step() != state.step()) {
            save();
        }
        TrainingResult result = new TrainingResult(end, state, parameters().count());
        for (TrainingListener listener : listeners) {
            listener.onEnd(result);
        }
        return result;
    }

    private TrainingResult.End loop(BooleanSupplier stop) throws IOException {
        double elapsedBefore = state.elapsedSeconds();
        double trainSeconds = state.trainSeconds();
        long begin = System.nanoTime();
        int lastEvaluation = state.step();
        double secondsAtEvaluation = trainSeconds;
        while (state.step() < config.iters()) {
            if (config.patience() > 0 && state.evaluationsSinceBest() >= config.patience()) {
                return TrainingResult.End.OUT_OF_PATIENCE;
            }
            if (stop.getAsBoolean()) {
                return TrainingResult.End.INTERRUPTED;
            }
            long since = System.nanoTime();
            int nextEvaluation = nextEvaluation(state.step());
            for (TrainingListener.Step done : step.run(state.step() + 1, nextEvaluation)) {
                if (done.number() == nextEvaluation || done.number() % CHECK_INTERVAL == 0) {
                    requireFinite(done.loss(), done.number()); // waits for the device: the time of all steps is known
                }
                trainSeconds += seconds(since);
                for (TrainingListener listener : listeners) {
                    listener.onStep(done);
                }
                since = System.nanoTime();
            }
            int number = step.number();
            boolean evaluate = number == nextEvaluation;
            double trainLoss = evaluate ? trainEvaluator.loss() : 0;
            double valLoss = evaluate ? valEvaluator.loss() : 0;
            state = state.advanced(number, trainSeconds, elapsedBefore + seconds(begin));
            if (evaluate) {
                double tokens =
                        (double) (number - lastEvaluation) * config.sequencesPerStep() * modelConfig.contextLength();
                evaluated(trainLoss, valLoss, tokens / (trainSeconds - secondsAtEvaluation));
                lastEvaluation = number;
                secondsAtEvaluation = trainSeconds;
            }
        }
        return TrainingResult.End.COMPLETED;
    }

    /** The first step after {@code number} at which there is an evaluation: the last of all, at the latest. */
    private int nextEvaluation(int number) {
        long next = (number / config.evalInterval() + 1L) * config.evalInterval();
        return (int) Math.min(next, config.iters());
    }

    private void evaluated(double trainLoss, double valLoss, double tokensPerSecond) throws IOException {
        requireFinite(trainLoss, state.step());
        requireFinite(valLoss, state.step());
        state = state.evaluated(trainLoss, valLoss);
        TrainingListener.Evaluation evaluation = new TrainingListener.Evaluation(
                state.step(),
                trainLoss,
                valLoss,
                step.learningRate(),
                step.gradNorm(),
                tokensPerSecond,
                state.elapsedSeconds());
        for (TrainingListener listener : listeners) {
            listener.onEvaluation(evaluation);
        }
        save();
    }

    private void requireFinite(double loss, int number) {
        if (!Double.isFinite(loss)) {
            throw new DivergedException(
                    number, saved == null ? "there is no checkpoint yet" : run.path() + " holds step " + saved.step());
        }
    }

    /** Saves a checkpoint of where training stands. */
    public void save() throws IOException {
        float[] weights = step.weights().toFloats();
        for (float weight : weights) {
            requireFinite(weight, state.step()); // stopped between two checks of the loss
        }
        run.save(
                new Checkpoint(
                        weights,
                        step.firstMoments().toFloats(),
                        step.secondMoments().toFloats(),
                        state),
                parameters());
        saved = state;
    }

    private static double seconds(long since) {
        return (System.nanoTime() - since) * 1e-9;
    }

    @Override
    public void close() {
        step.close();
    }
}
