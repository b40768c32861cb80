package io.github.drakegpt.train;

/** The loss is no longer a number. */
public final class DivergedException extends ArithmeticException {
    private static final long serialVersionUID = 1;

    DivergedException(int step, String lastCheckpoint, TrainConfig config) {
        super("The loss is not a number at step " + step + ", so training has stopped (" + lastCheckpoint
                + "); lower train.max_lr from " + config.maxLr()
                + (config.gradClip() > 0 ? "." : ", or set train.grad_clip to 1."));
    }
}
