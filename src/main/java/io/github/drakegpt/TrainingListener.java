package io.github.drakegpt;

import java.io.IOException;
import java.util.Optional;
import java.util.function.Supplier;

/** Follows a {@link Training}; its methods are called on the training's thread, in order. */
public interface TrainingListener extends AutoCloseable {
    /**
     * A step that was done, for the time of {@link #onStep}. Reading its loss or its gradient's norm waits for the device, so
     * read them only when they are shown.
     */
    interface Step {
        /**
         * Its number.
         *
         * @return counted from 1
         */
        int number();

        /**
         * Mean loss of the step's batch.
         *
         * @return in nats per character
         */
        float loss();

        /**
         * Norm of the gradient before clipping.
         *
         * @return the Euclidean norm over all parameters
         */
        float gradNorm();

        /**
         * The learning rate that it used.
         *
         * @return the rate
         */
        double learningRate();
    }

    /**
     * An evaluation.
     *
     * @param step number of the step before it
     * @param trainLoss an estimate: the mean over random batches of the first 90% of the text, in nats per character
     * @param valLoss the same of the rest, which is not trained on
     * @param best whether this is the lowest estimate of the validation loss so far
     * @param sample writes a text with the model as it is now, always from the same random numbers; to be called before
     *     {@link #onEvaluation} returns. Empty if the device has no memory for it
     */
    record Evaluation(int step, double trainLoss, double valLoss, boolean best, Supplier<Optional<String>> sample) {}

    /** Why a training ended. */
    enum End {
        /** All steps are done. */
        COMPLETED,
        /** The validation loss has not fallen for as many evaluations as {@code train.patience} says. */
        OUT_OF_PATIENCE,
        /** {@link Training#stopWhen} said so. */
        STOPPED
    }

    /**
     * Called after every step.
     *
     * @param step valid until this returns
     * @throws IOException to end the training, which throws it on
     */
    default void onStep(Step step) throws IOException {}

    /**
     * Called after every evaluation.
     *
     * @param evaluation its losses
     * @throws IOException to end the training, which throws it on
     */
    default void onEvaluation(Evaluation evaluation) throws IOException {}

    /**
     * Called after the last step, unless training has failed.
     *
     * @param end why it was the last
     * @throws IOException if what it does fails; the training throws it on
     */
    default void onEnd(End end) throws IOException {}

    /**
     * Called last, also when training has failed.
     *
     * @throws IOException if what it does fails; the training throws it on
     */
    @Override
    default void close() throws IOException {}
}
