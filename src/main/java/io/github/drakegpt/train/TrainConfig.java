package io.github.drakegpt.train;

import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.annotation.JsonNaming;
import io.github.drakegpt.ops.AdamWSettings;
import java.util.List;

/**
 * Settings of a training run.
 *
 * @param batchSize B, sequences of a step (of each of its gradAccum parts)
 * @param iters training steps
 * @param evalInterval steps between evaluations, at which a checkpoint is saved too
 * @param evalIters batches over which an evaluation averages the loss, of each split
 * @param schedule of the learning rate
 * @param baseLr lowest learning rate; bitnet: that of the second half, before it falls to 0
 * @param maxLr highest learning rate
 * @param stepSizeUp cyclic: evaluations from the lowest to the highest rate
 * @param warmupIters cosine and bitnet: steps from 0 to the highest rate
 * @param quantWarmupIters steps over which the rounding of a quantized model goes from nothing to full strength: a
 *     model trained in full precision then keeps more of its knowledge; 0: full from the first step
 * @param betas AdamW's two decay rates
 * @param eps AdamW's epsilon
 * @param weightDecay AdamW's weight decay, on every parameter
 * @param gradClip largest norm of the gradient; 0: not clipped
 * @param gradAccum parts of batchSize sequences whose gradients make up one step
 * @param patience evaluations without a new lowest val loss after which training stops; 0: never
 * @param seed of everything random
 */
@JsonNaming(PropertyNamingStrategies.SnakeCaseStrategy.class)
public record TrainConfig(
        int batchSize,
        int iters,
        int evalInterval,
        int evalIters,
        Schedule schedule,
        double baseLr,
        double maxLr,
        int stepSizeUp,
        int warmupIters,
        int quantWarmupIters,
        List<Float> betas,
        float eps,
        float weightDecay,
        float gradClip,
        int gradAccum,
        int patience,
        long seed) {

    /**
     * Checks every setting.
     *
     * @throws IllegalArgumentException in one sentence that names the setting
     */
    public TrainConfig {
        atLeast(1, "batch_size", batchSize);
        atLeast(1, "iters", iters);
        atLeast(1, "eval_interval", evalInterval);
        atLeast(1, "eval_iters", evalIters);
        atLeast(1, "step_size_up", stepSizeUp);
        atLeast(1, "grad_accum", gradAccum);
        if ((long) batchSize * gradAccum > Integer.MAX_VALUE) {
            throw new IllegalArgumentException("train.batch_size (" + batchSize + ") times train.grad_accum ("
                    + gradAccum + ") is more than " + Integer.MAX_VALUE + "; lower one of them.");
        }
        atLeast(0, "warmup_iters", warmupIters);
        atLeast(0, "quant_warmup_iters", quantWarmupIters);
        atLeast(0, "patience", patience);
        if (quantWarmupIters > iters) {
            throw new IllegalArgumentException(
                    "train.quant_warmup_iters (" + quantWarmupIters
                            + ") is more than train.iters (" + iters
                            + "), so that training would end with weights that are not quite rounded; lower the one or raise the other.");
        }
        notNegative("base_lr", baseLr);
        notNegative("max_lr", maxLr);
        if (!(eps > 0) || Float.isInfinite(eps)) {
            throw new IllegalArgumentException(
                    "train.eps is " + eps + "; set it to a number above 0 that float32 can hold, such as 1e-8.");
        }
        notNegative("weight_decay", weightDecay);
        notNegative("grad_clip", gradClip);
        if (schedule == null) {
            throw new IllegalArgumentException("train.schedule is missing; set it to cyclic, cosine or bitnet.");
        }
        if (betas == null
                || betas.size() != 2
                || betas.stream().anyMatch(beta -> beta == null || !(beta >= 0 && beta < 1))) {
            throw new IllegalArgumentException("train.betas is " + betas
                    + "; set it to two numbers from 0 up to, but not, 1, such as [0.9, 0.95].");
        }
        betas = List.copyOf(betas);
    }

    private static void atLeast(int least, String key, int value) {
        if (value < least) {
            throw new IllegalArgumentException("train." + key + " is " + value + "; set it to " + least + " or more.");
        }
    }

    private static void notNegative(String key, double value) {
        if (!(value >= 0) || Double.isInfinite(value)) {
            throw new IllegalArgumentException("train." + key + " is " + value + "; set it to a number of 0 or more.");
        }
    }

    /** Sequences of a whole step. */
    @JsonIgnore
    public int sequencesPerStep() {
        return Math.multiplyExact(batchSize, gradAccum);
    }

    /** The learning rate of a step, counted from 1. */
    public double learningRate(int step) {
        return schedule.learningRate(this, step);
    }

    TrainConfig withBatchSize(int size) {
        return new TrainConfig(
                size,
                iters,
                evalInterval,
                evalIters,
                schedule,
                baseLr,
                maxLr,
                stepSizeUp,
                warmupIters,
                quantWarmupIters,
                betas,
                eps,
                weightDecay,
                gradClip,
                gradAccum,
                patience,
                seed);
    }

    AdamWSettings adamW(float decay) {
        return new AdamWSettings(betas.get(0), betas.get(1), eps, decay, gradClip);
    }
}
