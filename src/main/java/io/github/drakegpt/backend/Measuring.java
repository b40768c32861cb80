package io.github.drakegpt.backend;

import io.github.drakegpt.tensor.Arena;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/** Measurements of a device: its time and memory, and alternatives to its operations. */
public interface Measuring {
    /**
     * A clock with marks 0 to {@code marks} - 1.
     *
     * @param arena closing it frees the clock
     */
    DeviceClock newClock(Arena arena, int marks);

    /** The device's implementations of the product of rows with a weight matrix, the one in fp32 first. */
    List<MatmulCandidate> products();

    /**
     * A library to measure operations against; empty if there is none for this device.
     *
     * @param arena closing it frees the library's resources
     */
    default Optional<LibraryOperations> libraryOperations(Arena arena) {
        return Optional.empty();
    }

    /**
     * Measures, for about a second, the most multiplications and additions in float32 that the device does in a second;
     * empty where that cannot be measured.
     */
    default OptionalDouble measurePeakFlops() {
        return OptionalDouble.empty();
    }

    /**
     * Returns the peak bytes of memory since the last call, of arenas and, on a GPU, of scratch memory, and starts a
     * new peak.
     */
    long resetPeakBytes();
}
