package io.github.drakegpt.train;

import io.github.drakegpt.checkpoint.TrainingState;

/** Duration of a run, over all processes that trained it. */
public final class TrainingClock {
    private final double elapsedBefore;
    private final long begin = System.nanoTime();

    private double trained; // seconds, until the last pause
    private long since;
    private boolean running;

    TrainingClock(TrainingState state) {
        elapsedBefore = state.elapsedSeconds();
        trained = state.trainSeconds();
    }

    /**
     * Seconds that training steps have taken, without evaluations and checkpoints. A device may still be computing the
     * last steps: only those that are {@link TrainingListener.Step#isDone done} are included.
     */
    public double trainSeconds() {
        return running ? trained + seconds(since) : trained;
    }

    /** Seconds with evaluations and checkpoints. */
    public double elapsedSeconds() {
        return elapsedBefore + seconds(begin);
    }

    void resume() {
        since = System.nanoTime();
        running = true;
    }

    void pause() {
        trained = trainSeconds();
        running = false;
    }

    private static double seconds(long since) {
        return (System.nanoTime() - since) * 1e-9;
    }
}
