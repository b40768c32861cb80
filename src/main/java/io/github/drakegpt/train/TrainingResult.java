package io.github.drakegpt.train;

import io.github.drakegpt.checkpoint.TrainingState;

/**
 * The end of a training run.
 *
 * @param end why
 * @param state the last checkpoint's
 * @param parameters number of trained values
 */
public record TrainingResult(End end, TrainingState state, long parameters) {
    /** Why training ended. */
    public enum End {
        /** All iterations are done. */
        COMPLETED,
        /** The val loss has not fallen for {@code train.patience} evaluations. */
        OUT_OF_PATIENCE,
        /** It was asked to stop; a checkpoint was saved. */
        INTERRUPTED
    }

    /** Training steps a second, without evaluations. */
    public double stepsPerSecond() {
        return state.step() / state.trainSeconds();
    }
}
