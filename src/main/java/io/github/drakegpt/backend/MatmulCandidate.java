package io.github.drakegpt.backend;

import io.github.drakegpt.tensor.Arena;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;

/** An implementation of the product of rows with a weight matrix, to be compared with the device's others. */
public interface MatmulCandidate {
    /** Types of weights and rows, and the implementation where there are several: {@code fp32}. */
    String name();

    /** The library that multiplies; empty where this project does. */
    default Optional<String> library() {
        return Optional.empty();
    }

    /** What bounds it when there are many rows; when there are few, it is reading the weights. */
    Measuring.Bound bound();

    /** Bytes of a weight matrix (out, in). */
    long weightBytes(int out, int in);

    /** Whether it can multiply so many rows with a matrix of this size. */
    default boolean supports(int rows, int out, int in) {
        return true;
    }

    /** Prepares several weights (out, in) of random values. */
    Prepared prepare(Arena arena, int out, int in, int weights);

    /** Weights to multiply with. */
    @FunctionalInterface
    interface Prepared {
        /**
         * Prepares y (rows, out) = x (rows, in) weight^T for each weight, all with the same x of random values and the
         * same y.
         *
         * @param arena of x and y, closed before that of the weights
         * @return for each weight an object whose runs multiply with it once
         */
        List<Runnable> products(Arena arena, int rows);
    }

    /** Values from -1 to 1; the same ones each time. */
    static float[] random(int n) {
        SplittableRandom random = new SplittableRandom(42);
        float[] values = new float[n];
        int drawn = Math.min(n, 1 << 20);
        for (int i = 0; i < drawn; i++) {
            values[i] = 2 * random.nextFloat() - 1;
        }
        for (int i = drawn; i < n; i += drawn) {
            System.arraycopy(values, 0, values, i, Math.min(drawn, n - i));
        }
        return values;
    }
}
