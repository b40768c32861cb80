package io.github.drakegpt.tracking;

import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.annotation.JsonNaming;

/**
 * Metrics of a training step: a line of {@code metrics.jsonl}. Losses are in nats per token. Values that only an
 * evaluation gives are null between evaluations, and then not in the line.
 *
 * @param step counted from 1
 * @param loss mean over the step's batch; null if that is no finite number, and in runs of versions that did not record it
 * @param trainLoss estimate of an evaluation: mean over some batches of the training split, or null
 * @param valLoss the same of the validation split, or null
 * @param finalValLoss over the whole validation split, where training ended with this step; else null
 * @param learningRate of the step
 * @param gradNorm norm of the step's gradient before clipping; null if that is no finite number
 * @param tokensPerSecond of the training steps since the line before
 * @param peakMemoryBytes peak memory of the device since this process began to train the run, or null
 * @param elapsedSeconds of the whole run so far, evaluations included
 * @param sample text that the model wrote at an evaluation, or null
 */
@JsonInclude(JsonInclude.Include.NON_NULL)
@JsonIgnoreProperties(ignoreUnknown = true)
@JsonNaming(PropertyNamingStrategies.SnakeCaseStrategy.class)
public record Metrics(
        int step,
        @JsonInclude(JsonInclude.Include.ALWAYS) Double loss,
        Double trainLoss,
        Double valLoss,
        Double finalValLoss,
        @JsonProperty("lr") double learningRate,
        @JsonInclude(JsonInclude.Include.ALWAYS) Double gradNorm,
        @JsonProperty("tokens_per_s") long tokensPerSecond,
        Long peakMemoryBytes,
        @JsonProperty("elapsed_s") double elapsedSeconds,
        String sample) {

    /** Whether the model was evaluated after this step. */
    @JsonIgnore
    public boolean isEvaluation() {
        return valLoss != null;
    }

    /** The val loss to show, or null: over the whole split where it was measured, else the estimate. */
    public Double shownValLoss() {
        return finalValLoss != null ? finalValLoss : valLoss;
    }
}
