package io.github.drakegpt.cli;

import java.util.concurrent.CountDownLatch;
import java.util.function.BooleanSupplier;

/**
 * Turns Ctrl-C, or the termination signal of a shutdown, into a request to stop: while an instance is open, such a
 * signal does not end the process, which then ends by {@link #exit} as usual.
 */
final class Interrupts implements BooleanSupplier, AutoCloseable {
    private static final CountDownLatch FINISHED = new CountDownLatch(1);
    private static volatile Interrupts open;
    private static volatile int exitCode;

    private volatile boolean requested;

    static {
        Runtime.getRuntime().addShutdownHook(new Thread(Interrupts::onSignal, "drakegpt-interrupt"));
    }

    Interrupts() {
        open = this;
    }

    private static void onSignal() {
        Interrupts asked = open;
        if (asked == null) {
            return; // nothing to save: the process ends at once
        }
        asked.requested = true;
        try {
            FINISHED.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt(); // the process ends anyway
        }
        Runtime.getRuntime().halt(exitCode);
    }

    /** Ends the process with a code, even if a signal is already ending it. */
    static void exit(int code) {
        exitCode = code;
        FINISHED.countDown();
        System.exit(code);
    }

    /** Whether a request to stop has come. */
    @Override
    public boolean getAsBoolean() {
        return requested;
    }

    @Override
    public void close() {
        open = null;
    }
}
