package io.github.drakegpt.backend;

/** Marks between the operations of a device, and the device time between two of them. */
public interface DeviceClock {
    /** Sets mark {@code i} after all operations called so far; not inside of recorded work. */
    void mark(int i);

    /** Seconds from one mark to a later one; waits until the device has reached it. */
    double seconds(int from, int to);
}
