package io.github.drakegpt.backend;

/** Counts a device's allocated memory, and its peak. */
public final class MemoryCount {
    private long bytes;
    private long peak;

    /** Adds allocated bytes, or subtracts freed ones. */
    public synchronized void add(long more) {
        bytes += more;
        peak = Math.max(peak, bytes);
    }

    /** Returns the peak since the last call, and starts a new one from the current bytes. */
    public synchronized long resetPeak() {
        long taken = peak;
        peak = bytes;
        return taken;
    }
}
