package io.github.drakegpt.backend;

import io.github.drakegpt.tensor.Arena;
import java.util.List;
import java.util.Optional;

/** Measurements of a device: its time and memory, and what else could do its operations. */
public interface Measuring {
    /**
     * A clock with marks 0 to {@code marks} - 1.
     *
     * @param arena with which it is given back
     */
    DeviceClock newClock(Arena arena, int marks);

    /** The ways in which this device can multiply rows with a weight matrix, that in fp32 first. */
    List<MatmulCandidate> products();

    /**
     * A library to measure operations against; empty if there is none for this device.
     *
     * @param arena with which it is given back
     */
    default Optional<LibraryOperations> libraryOperations(Arena arena) {
        return Optional.empty();
    }

    /**
     * Returns the most bytes of memory that were taken at a time since the last call of this: by arenas, and on a GPU also by
     * what operations keep for themselves.
     */
    long resetPeakBytes();
}
