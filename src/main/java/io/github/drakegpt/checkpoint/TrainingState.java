package io.github.drakegpt.checkpoint;

import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.annotation.JsonNaming;

/**
 * Progress of a training run: {@code state.json}. Together with the weights and the optimizer's moments it is all that
 * resuming needs, since every random number follows from the seed and the step.
 *
 * @param step training steps done
 * @param trainLoss at the last evaluation, in nats per token; NaN before the first
 * @param valLoss at the last evaluation
 * @param bestValLoss lowest so far; infinite before the first evaluation
 * @param bestStep step of the lowest
 * @param evaluationsSinceBest for early stopping
 * @param trainSeconds spent in training steps, of all processes that worked on the run
 * @param elapsedSeconds the same with evaluations
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
        double elapsedSeconds) {
    /** Before the first step. */
    public static final TrainingState START =
            new TrainingState(0, Double.NaN, Double.NaN, Double.POSITIVE_INFINITY, 0, 0, 0, 0);

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
                elapsedSeconds);
    }

    /** The state at a later step. */
    public TrainingState advanced(int step, double trainSeconds, double elapsedSeconds) {
        return new TrainingState(
                step, trainLoss, valLoss, bestValLoss, bestStep, evaluationsSinceBest, trainSeconds, elapsedSeconds);
    }
}
