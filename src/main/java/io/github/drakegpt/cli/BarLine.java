package io.github.drakegpt.cli;

import me.tongfei.progressbar.ConsoleProgressBarConsumer;

/**
 * The line of stderr that holds a progress bar. The library's own way to get the terminal's width takes Ctrl-C from
 * Java: the process would end without saving.
 */
final class BarLine extends ConsoleProgressBarConsumer {
    private static final long NANOS_BETWEEN_LOOKS = 1_000_000_000;

    private volatile int width = Terminal.width();
    private long looked = System.nanoTime();

    BarLine() {
        super(System.err);
    }

    /** Characters in a line of the terminal. */
    int width() {
        return width;
    }

    /**
     * Checks the width now and then, since the terminal may have become narrower; the bar's own thread calls this most
     * often.
     */
    @Override
    public synchronized int getMaxRenderedLength() {
        if (System.nanoTime() - looked > NANOS_BETWEEN_LOOKS) {
            width = Terminal.width();
            looked = System.nanoTime();
        }
        return width - 1; // in the last column, some terminals begin a new line
    }
}
