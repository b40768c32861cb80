package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.RandomStream;
import java.util.Arrays;

/**
 * The last few masks of a thread: the backward pass needs those of the forward pass again, in reverse order, and a mask
 * is a pure function of its arguments.
 */
final class Masks {
    /** Enough for the three masks of each layer of a small model. */
    private static final int KEPT = 16;

    private final Mask[] kept = new Mask[KEPT];
    private int next;

    /** A drawn mask and its arguments. */
    private static final class Mask {
        private long seed;
        private int purpose;
        private int step;
        private int threshold;
        private long first;
        private int n;
        private float[] factors = new float[0];
    }

    Masks() {
        Arrays.setAll(kept, i -> new Mask());
    }

    /** The factors of elements {@code first} to {@code first + n - 1}, kept or drawn. */
    float[] get(JavaDropout drawing, Dropout dropout, long first, int n) {
        RandomStream stream = dropout.stream();
        int step = JavaDropout.step(stream);
        int threshold = dropout.threshold();
        for (Mask mask : kept) {
            if (mask.first == first
                    && mask.n == n
                    && mask.step == step
                    && mask.purpose == stream.purpose()
                    && mask.seed == stream.seed()
                    && mask.threshold == threshold) {
                return mask.factors;
            }
        }
        Mask mask = kept[next];
        next = (next + 1) % KEPT;
        mask.seed = stream.seed();
        mask.purpose = stream.purpose();
        mask.step = step;
        mask.threshold = threshold;
        mask.first = first;
        mask.n = n;
        mask.factors = drawing.draw(dropout, first, n, mask.factors);
        return mask.factors;
    }
}
