package io.github.drakegpt.train;

import io.github.drakegpt.model.ModelConfig;
import java.io.IOException;

/** Is told how training goes. The trainer knows none of its listeners; they are called on its thread, in order. */
public interface TrainingListener extends AutoCloseable {
    /**
     * What is about to be trained.
     *
     * @param parameters number of trained values
     * @param memoryBytes of parameters, gradients, moments and activations
     * @param firstStep the step that comes next: above 1 if a run is resumed
     */
    record Start(
            ModelConfig model, TrainConfig train, String device, long parameters, long memoryBytes, int firstStep) {}

    /**
     * A step that was done; it is another one's after {@link #onStep} returns. Reading a value from the device costs time: a
     * listener asks only for what it shows.
     */
    interface Step {
        /** Counted from 1. */
        int number();

        /** Mean loss of the step's batch, in nats per token. */
        float loss();

        /** Norm of the gradient before clipping. */
        float gradNorm();

        double learningRate();
    }

    /**
     * An evaluation.
     *
     * @param trainLoss mean over the evaluation's batches of the training split, in nats per token
     * @param valLoss the same of the validation split
     * @param learningRate of the last step
     * @param gradNorm of the last step, before clipping
     * @param tokensPerSecond of the training steps since the last evaluation
     * @param elapsedSeconds of the whole run so far, evaluations included
     */
    record Evaluation(
            int step,
            double trainLoss,
            double valLoss,
            double learningRate,
            double gradNorm,
            double tokensPerSecond,
            double elapsedSeconds) {}

    /** Before the first step. */
    default void onStart(Start start) throws IOException {}

    /** After every step, or several times after several steps that the device did at once: for each of them, in order. */
    default void onStep(Step step) {}

    /** After every evaluation, before its checkpoint is saved. */
    default void onEvaluation(Evaluation evaluation) throws IOException {}

    /** After the last step. */
    default void onEnd(TrainingResult result) throws IOException {}

    /** Called last, also when training has failed. */
    @Override
    default void close() throws IOException {}
}
