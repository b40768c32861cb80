package io.github.drakegpt.checkpoint;

/**
 * Everything that training continues from. The arrays are flat buffers, laid out as the model's
 * {@link io.github.drakegpt.nn.Parameters}.
 *
 * @param weights the parameters
 * @param firstMoments AdamW's mean of the gradients
 * @param secondMoments AdamW's mean of their squares
 */
public record Checkpoint(float[] weights, float[] firstMoments, float[] secondMoments, TrainingState state) {}
