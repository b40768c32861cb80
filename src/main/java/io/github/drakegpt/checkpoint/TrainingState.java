package io.github.drakegpt.checkpoint;

import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.annotation.JsonNaming;

/**
 * Progress of a training run: {@code state.json}. Together with the weights and the optimizer's moments it is all that
 * resuming needs, since every random number follows from the seed and the step.
 *
 * @param step training steps done
 * @param trainLoss estimate at the last evaluation, over some batches, in nats per token; NaN before the first
 * @param valLoss the same of the validation split
 * @param bestValLoss lowest estimate so far, compared with estimates only; infinite before the first evaluation
 * @param bestStep step of the lowest
 * @param evaluationsSinceBest for early stopping
 * @param trainSeconds spent in training steps, of all processes that worked on the run
 * @param elapsedSeconds the same with evaluations
 * @param finalValLoss over the whole validation split, measured when training ends; null before that, and in files of older
 *     versions
 */
@JsonNaming(PropertyNamingStrategies.SnakeCaseStrategy.class)
public record TrainingState(
        int step,
        double trainLoss,
        double valLoss,
        double bestValLoss,
        int bestStep,
        int evaluationsSinceBest,
        double trainSeconds,
        double elapsedSeconds,
        @JsonInclude(JsonInclude.Include.NON_NULL) Double finalValLoss) {
    /** Before the first step. */
    public static final TrainingState START =
            new TrainingState(0, Double.NaN, Double.NaN, Double.POSITIVE_INFINITY, 0, 0, 0, 0, null);

    /** @throws IllegalArgumentException if a value is not one that a training can have; the message names it */
    public TrainingState {
        require(step >= 0, "step", step);
        require(!(trainLoss < 0), "train_loss", trainLoss);
        require(!(valLoss < 0), "val_loss", valLoss);
        require(bestValLoss >= 0, "best_val_loss", bestValLoss);
        require(bestStep >= 0 && bestStep <= step, "best_step", bestStep);
        require(evaluationsSinceBest >= 0, "evaluations_since_best", evaluationsSinceBest);
        require(trainSeconds >= 0 && trainSeconds < Double.POSITIVE_INFINITY, "train_seconds", trainSeconds);
        require(elapsedSeconds >= 0 && elapsedSeconds < Double.POSITIVE_INFINITY, "elapsed_seconds", elapsedSeconds);
        require(
                finalValLoss == null || finalValLoss >= 0 && finalValLoss < Double.POSITIVE_INFINITY,
                "final_val_loss",
                finalValLoss);
    }

    private static void require(boolean possible, String name, Object value) {
        if (!possible) {
            throw new IllegalArgumentException(name + " cannot be " + value + ".");
        }
    }

    /** The state after an evaluation at the same step. */
    public TrainingState evaluated(double trainLoss, double valLoss) {
        boolean best = valLoss < bestValLoss;
        return new TrainingState(
                step,
                trainLoss,
                valLoss,
                best ? valLoss : bestValLoss,
                best ? step : bestStep,
                best ? 0 : evaluationsSinceBest + 1,
                trainSeconds,
                elapsedSeconds,
                null);
    }

    /** The state at a later step. */
    public TrainingState advanced(int step, double trainSeconds, double elapsedSeconds) {
        return new TrainingState(
                step,
                trainLoss,
                valLoss,
                bestValLoss,
                bestStep,
                evaluationsSinceBest,
                trainSeconds,
                elapsedSeconds,
                null);
    }

    /** The state at the end of the training. */
    public TrainingState finished(double finalValLoss) {
        return new TrainingState(
                step,
                trainLoss,
                valLoss,
                bestValLoss,
                bestStep,
                evaluationsSinceBest,
                trainSeconds,
                elapsedSeconds,
                finalValLoss);
    }

    /** Whether training has come to its end, and was not interrupted. */
    @JsonIgnore
    public boolean isFinished() {
        return finalValLoss != null;
    }

    /** The val loss to show: over the whole split where it was measured, else the last estimate. */
    public double shownValLoss() {
        return isFinished() ? finalValLoss : valLoss;
    }

    /** The lowest val loss to show: over the whole split if the last step's is the lowest and was measured, else the estimate. */
    public double shownBestValLoss() {
        return isFinished() && bestStep == step ? finalValLoss : bestValLoss;
    }
}
