package io.github.drakegpt.train;

import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.tensor.Precision;
import java.io.IOException;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * Receives the events of a training run. The trainer depends on no listener; they are called on its thread, in order.
 */
public interface TrainingListener {
    /**
     * A training run that is about to start.
     *
     * @param device its name and description
     * @param precision of the device
     * @param parameters number of trained values
     * @param memoryBytes of parameters, gradients, moments and activations
     * @param firstStep the step that comes next: above 1 if a run is resumed
     * @param clock can be read at any time of the training
     */
    record Start(
            ModelConfig model,
            TrainConfig train,
            String device,
            Precision precision,
            long parameters,
            long memoryBytes,
            int firstStep,
            TrainingClock clock) {}

    /**
     * A step that was done; the object is reused after {@link #onStep} returns. Reading a value from the device costs
     * time: a listener should read only the values that it shows.
     */
    interface Step {
        /** Counted from 1. */
        int number();

        /** Mean loss of the step's batch, in nats per token; waits for the device. */
        float loss();

        /** Norm of the gradient before clipping; waits for the device. */
        float gradNorm();

        double learningRate();

        /** Whether the device is known to have done this step, which it is after its loss was read. */
        boolean isDone();
    }

    /**
     * An evaluation.
     *
     * @param step after which the model was evaluated
     * @param trainLoss estimate: mean over the evaluation's batches of the training split, in nats per token
     * @param valLoss the same of the validation split
     * @param finalValLoss over the whole validation split, where this evaluation ends the training; else null
     * @param best whether this is the lowest estimate of the val loss so far
     * @param peakMemoryBytes peak memory of the device since training began
     * @param sample text that the model writes now, from the same random numbers each time; written at the first call,
     *     which must come before {@link #onEvaluation} returns. Empty where there is no memory for it
     */
    record Evaluation(
            Step step,
            double trainLoss,
            double valLoss,
            Double finalValLoss,
            boolean best,
            long peakMemoryBytes,
            Supplier<Optional<String>> sample) {}

    /** Before the first step. */
    default void onStart(Start start) throws IOException {}

    /** After every step; after several steps that the device did at once, for each of them in order. */
    default void onStep(Step step) throws IOException {}

    /** After every evaluation, before its checkpoint is saved. */
    default void onEvaluation(Evaluation evaluation) throws IOException {}

    /** After the last step. */
    default void onEnd(TrainingResult result) throws IOException {}
}
