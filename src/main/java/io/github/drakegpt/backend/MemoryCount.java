package io.github.drakegpt.backend;

/** How much memory a device has given, and the most that it was at a time. */
public final class MemoryCount {
    private long bytes;
    private long peak;

    /** Counts what was allocated, or with a negative number what was given back. */
    public synchronized void add(long more) {
        bytes += more;
        peak = Math.max(peak, bytes);
    }

    /** The most bytes at a time since the last call of this. */
    public synchronized long takePeak() {
        long taken = peak;
        peak = bytes;
        return taken;
    }
}
