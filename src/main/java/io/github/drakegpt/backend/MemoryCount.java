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

    /** Returns the most bytes at a time since the last call of this. */
    public synchronized long resetPeak() {
        long taken = peak;
        peak = bytes;
        return taken;
    }
}
