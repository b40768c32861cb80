package io.github.drakegpt.train;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Collective;
import io.github.drakegpt.checkpoint.Checkpoint;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.TrainingState;
import io.github.drakegpt.data.BatchSampler;
import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.data.Corpus;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Scorer;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.tensor.OutOfMemoryException;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Trains a model: steps, evaluations, checkpoints, and when to stop. */
public final class Trainer implements AutoCloseable {
    /** Steps after which the loss is checked even if no listener asks for it. */
    private static final int CHECK_INTERVAL = 100;

    /** Characters of the text that an evaluation shows. */
    private static final int SAMPLE_LENGTH = 200;

    private static final Logger log = LoggerFactory.getLogger(Trainer.class);

    private final Backend backend;
    private final Collective collective;
    private final ModelConfig modelConfig;
    private final TrainConfig config;
    private final RunFolder run;
    private final List<TrainingListener> listeners;
    private final CharTokenizer tokenizer;
    private final TrainingStep step;
    private final Evaluator trainEvaluator;
    private final Evaluator valEvaluator;
    private final Scorer scorer;
    private final int[] val;

    private TrainingState state = TrainingState.START;
    private TrainingState saved;
    private TextSampler sampler; // null until a listener asks for a text
    private boolean noMemoryForSamples;
    private long peakMemoryBytes;

    /** The same in a single process. */
    public Trainer(
            Backend backend,
            ModelConfig modelConfig,
            TrainConfig config,
            Corpus corpus,
            RunFolder run,
            List<TrainingListener> listeners) {
        this(backend, Collective.ALONE, modelConfig, config, corpus, run, listeners);
    }

    /**
     * Builds the model with initial weights for the seed.
     *
     * @param collective the processes that train it; all of them call the same methods of this
     * @param run receives the checkpoints; null if nothing is to be saved, as in all processes but one
     * @throws IllegalArgumentException if the corpus is too short for the model's context, or the processes cannot share a
     *     step evenly
     */
    public Trainer(
            Backend backend,
            Collective collective,
            ModelConfig modelConfig,
            TrainConfig config,
            Corpus corpus,
            RunFolder run,
            List<TrainingListener> listeners) {
        this.backend = backend;
        this.collective = collective;
        this.modelConfig = modelConfig;
        this.config = config;
        this.run = run;
        this.listeners = listeners;
        this.tokenizer = corpus.tokenizer();
        backend.resetPeakBytes(); // of work before this
        this.val = corpus.validationTokens();
        int length = modelConfig.contextLength();
        step = TrainingStep.create(backend, collective, modelConfig, config, corpus.train());
        try {
            trainEvaluator = evaluator(step.batches().with(step.stream(RandomStream.EVAL_TRAIN_BATCH)));
            valEvaluator = evaluator(new BatchSampler(
                    step.arena(),
                    "validation",
                    corpus.val(),
                    modelConfig.vocabSize(),
                    length,
                    step.stream(RandomStream.EVAL_VAL_BATCH)));
            scorer = new Scorer(backend, collective, step.arena(), step.replicas(), step.sequencesPerPass());
        } catch (RuntimeException e) {
            step.close();
            throw e;
        }
    }

    private Evaluator evaluator(BatchSampler split) {
        return new Evaluator(
                backend,
                collective,
                step.arena(),
                step.replicas(),
                split,
                Shards.evaluation(backend, config.evalIters(), config.batchSize(), modelConfig.contextLength()));
    }

    /** The model's parameters: their names, shapes and places in a flat buffer. */
    public Parameters parameters() {
        return step.parameters();
    }

    /** The model's weights as they are now. */
    public Weights weights() {
        return Weights.of(modelConfig, step.weights().toFloats());
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
     * Trains until all iterations are done, patience ends or {@code stop} returns true, and saves a checkpoint at every
     * evaluation and at the end. Several processes stop together when one of them is asked to, after a step or, on a GPU,
     * at most {@value #CHECK_INTERVAL}. Evaluations on the way estimate the losses; unless it was stopped, the val loss at the end
     * is measured over the whole split.
     *
     * @throws DivergedException if the loss becomes NaN or infinite; the checkpoint before that stays
     * @throws IOException if a checkpoint or a listener's file cannot be written; the checkpoint before that stays
     */
    public TrainingResult train(BooleanSupplier stop) throws IOException {
        TrainingClock clock = new TrainingClock(state);
        TrainingListener.Start start = new TrainingListener.Start(
                modelConfig,
                config,
                backend.name() + ", " + backend.description(),
                backend.precision(),
                parameters().count(),
                step.arena().bytes(),
                state.step() + 1,
                clock);
        for (TrainingListener listener : listeners) {
            listener.onStart(start);
        }
        TrainingResult.End end = loop(clock, stop);
        if (end != TrainingResult.End.INTERRUPTED && !state.isFinished()) { // had no step left to do
            state = state.finished(finalValLoss());
        }
        if (!state.equals(saved)) {
            save();
        }
        TrainingResult result = new TrainingResult(end, state, parameters().count());
        for (TrainingListener listener : listeners) {
            listener.onEnd(result);
        }
        return result;
    }

    private TrainingResult.End loop(TrainingClock clock, BooleanSupplier stop) throws IOException {
        boolean several = collective.rank().size() > 1;
        boolean agreed = false; // of several processes, to stop
        while (!isDone() && !isOutOfPatience()) {
            if (several ? agreed : stop.getAsBoolean()) {
                return TrainingResult.End.INTERRUPTED;
            }
            if (several) {
                step.askToStop(stop.getAsBoolean());
            }
            clock.resume();
            int nextEvaluation = nextEvaluation(state.step());
            for (TrainingListener.Step done : step.run(state.step() + 1, nextEvaluation)) {
                if (done.number() == nextEvaluation || done.number() % CHECK_INTERVAL == 0) {
                    requireFinite(done.loss(), done.number()); // waits for the device: the time of all steps is known
                }
                for (TrainingListener listener : listeners) {
                    listener.onStep(done);
                }
            }
            clock.pause();
            int number = step.number();
            boolean evaluate = number == nextEvaluation;
            double trainLoss = evaluate ? trainEvaluator.loss() : 0;
            double valLoss = evaluate ? valEvaluator.loss() : 0;
            state = state.advanced(number, clock.trainSeconds(), clock.elapsedSeconds());
            if (evaluate) {
                evaluated(trainLoss, valLoss);
            }
            agreed =
                    several && (backend.isSynchronous() || evaluate || number % CHECK_INTERVAL == 0) && step.isToStop();
        }
        return isDone() ? TrainingResult.End.COMPLETED : TrainingResult.End.OUT_OF_PATIENCE;
    }

    private boolean isDone() {
        return state.step() >= config.iters();
    }

    private boolean isOutOfPatience() {
        return config.patience() > 0 && state.evaluationsSinceBest() >= config.patience();
    }

    /** The first step after {@code number} with an evaluation, which the last step of all always has. */
    private int nextEvaluation(int number) {
        long next = (number / config.evalInterval() + 1L) * config.evalInterval();
        return (int) Math.min(next, config.iters());
    }

    private void evaluated(double trainLoss, double valLoss) throws IOException {
        requireFinite(trainLoss, state.step());
        requireFinite(valLoss, state.step());
        state = state.evaluated(trainLoss, valLoss);
        if (isDone() || isOutOfPatience()) {
            state = state.finished(finalValLoss());
        }
        peakMemoryBytes = Math.max(peakMemoryBytes, backend.resetPeakBytes());
        TrainingListener.Evaluation evaluation = new TrainingListener.Evaluation(
                step,
                trainLoss,
                valLoss,
                state.finalValLoss(),
                state.bestStep() == state.step(),
                peakMemoryBytes,
                new Sample());
        for (TrainingListener listener : listeners) {
            listener.onEvaluation(evaluation);
        }
        save();
    }

    /** The val loss over the whole split, as every command measures it. */
    private double finalValLoss() {
        double loss = scorer.score(val).nll();
        requireFinite(loss, state.step());
        return loss;
    }

    /** A text that is generated at the first call, and kept. */
    private final class Sample implements Supplier<Optional<String>> {
        private Optional<String> text; // null until then

        @Override
        public Optional<String> get() {
            if (text == null) {
                text = noMemoryForSamples ? Optional.empty() : write();
            }
            return text;
        }

        private Optional<String> write() {
            Weights now = weights();
            try {
                if (sampler == null) {
                    sampler = new TextSampler(backend, now, tokenizer);
                } else {
                    sampler.setWeights(now);
                }
                return Optional.of(sampler.sample(SAMPLE_LENGTH));
            } catch (OutOfMemoryException e) { // training fits, and is more important
                log.warn("There is no memory left to write samples with: {}", e.getMessage());
                noMemoryForSamples = true;
                closeSampler();
                return Optional.empty();
            }
        }
    }

    private void closeSampler() {
        if (sampler != null) {
            sampler.close();
            sampler = null;
        }
    }

    private void requireFinite(double loss, int number) {
        if (!Double.isFinite(loss)) {
            throw new DivergedException(number, lastCheckpoint(), config);
        }
    }

    private String lastCheckpoint() {
        if (run == null) {
            return "nothing was saved";
        }
        return saved == null ? "there is no checkpoint yet" : run.path() + " holds step " + saved.step();
    }

    /** Saves a checkpoint of the current state. */
    public void save() throws IOException {
        float[] weights = step.weights().toFloats();
        for (float weight : weights) {
            requireFinite(weight, state.step()); // stopped between two checks of the loss
        }
        if (run != null) {
            run.save(
                    new Checkpoint(
                            weights,
                            step.firstMoments().toFloats(),
                            step.secondMoments().toFloats(),
                            state),
                    parameters());
        }
        saved = state;
    }

    @Override
    public void close() {
        closeSampler();
        step.close();
    }
}
