package io.github.drakegpt.backend;

import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.Precision;
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

    /** What bounds an operation. */
    enum Bound {
        /** Multiplications and additions in float32. */
        FP32,
        /** Those of bfloat16, or in float32 where bfloat16 is multiplied so. */
        BF16,
        /** Those of 8-bit integers. */
        INT8,
        /** Bytes that are read from memory. */
        READ;

        /** What bounds products in a CPU's precision. */
        public static Bound of(Precision precision) {
            return precision == Precision.BF16 ? BF16 : FP32;
        }
    }

    /** Measures, for about a second, how many of these the device does in a second; empty where that cannot be measured. */
    default OptionalDouble measurePeak(Bound bound) {
        return OptionalDouble.empty();
    }

    /**
     * Returns the peak bytes of memory since the last call, of arenas and, on a GPU, of scratch memory, and starts a
     * new peak.
     */
    long resetPeakBytes();
}
