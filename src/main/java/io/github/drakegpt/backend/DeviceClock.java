package io.github.drakegpt.backend;

/** Marks between the operations of a device, and the time that passes there from one to another. */
public interface DeviceClock {
    /** Sets mark {@code i} behind all that was started so far; not inside of what is recorded. */
    void mark(int i);

    /** Seconds from one mark to a later one; waits until the device has come to it. */
    double seconds(int from, int to);
}
