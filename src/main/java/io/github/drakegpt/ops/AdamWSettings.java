package io.github.drakegpt.ops;

/**
 * The constants of AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019), named as PyTorch names
 * them.
 *
 * @param beta1 decay of the mean of the gradients
 * @param beta2 decay of the mean of the squared gradients
 * @param eps added to the root of the latter
 * @param weightDecay fraction of each parameter that a step subtracts, times the learning rate
 * @param clip largest allowed norm of the whole gradient, as PyTorch's clip_grad_norm_; 0: not clipped
 */
public record AdamWSettings(float beta1, float beta2, float eps, float weightDecay, float clip) {}
