package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Philox;
import io.github.drakegpt.tensor.RandomStream;
import java.util.Arrays;

/**
 * Dropout masks as factors: 0 for an element that is dropped, the scale for one that is kept. A mask is a pure function
 * of its arguments, and the backward pass needs those of the forward pass again, in reverse order, so the last few are
 * cached.
 *
 * <p>An instance belongs to one thread.
 */
final class Masks {
    private static final int PER_BLOCK = 8;
    /** Enough for the three masks of each layer of a small model. */
    private static final int KEPT = 16;

    private final Mask[] kept = new Mask[KEPT];
    private final Philox.Lanes lanes = new Philox.Lanes();
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

    /**
     * An array that begins with the factors of elements {@code first} to {@code first + n - 1}, to be read only. Null
     * where the pass drops none.
     */
    float[] get(Dropout dropout, Pass pass, long first, int n) {
        if (dropout == null || !pass.training()) {
            return null;
        }
        RandomStream stream = dropout.stream();
        int step = HeapStorage.ints(stream.step())[HeapStorage.start(stream.step())];
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
        draw(mask, dropout.scale());
        return mask.factors;
    }

    private void draw(Mask mask, float scale) {
        long firstBlock = mask.first / PER_BLOCK;
        int blocks = (int) ((mask.first + mask.n - 1) / PER_BLOCK - firstBlock + 1);
        Philox.draw(mask.seed, mask.purpose, mask.step, firstBlock, blocks, lanes);
        for (int word = 0; word < 4; word++) {
            decide(lanes.word(word), blocks, mask.threshold, Float.floatToRawIntBits(scale));
        }
        if (mask.factors.length < PER_BLOCK * blocks) {
            mask.factors = new float[PER_BLOCK * blocks];
        }
        store(lanes.word(0), lanes.word(1), lanes.word(2), lanes.word(3), blocks, mask.factors);
        int skip = (int) (mask.first - firstBlock * PER_BLOCK);
        if (skip > 0) {
            System.arraycopy(mask.factors, skip, mask.factors, 0, mask.n);
        }
    }

    /**
     * Replaces each random half with the bits of a factor, the low half with those in the low half of the long. The
     * sign of half - threshold decides, without a branch, which would be unpredictable and prevent vectorization.
     */
    private static void decide(long[] words, int n, long threshold, long scale) {
        for (int i = 0; i < n; i++) {
            long low = scale & ~((words[i] & 0xFFFF) - threshold >> 63);
            long high = scale & ~((words[i] >>> 16) - threshold >> 63);
            words[i] = low | high << 32;
        }
    }

    /** factors (n, 8) from the pairs of factors of word 0 to 3. */
    private static void store(long[] a, long[] b, long[] c, long[] d, int n, float[] factors) {
        for (int i = 0; i < n; i++) {
            int o = PER_BLOCK * i;
            factors[o] = Float.intBitsToFloat((int) a[i]);
            factors[o + 1] = Float.intBitsToFloat((int) (a[i] >>> 32));
            factors[o + 2] = Float.intBitsToFloat((int) b[i]);
            factors[o + 3] = Float.intBitsToFloat((int) (b[i] >>> 32));
            factors[o + 4] = Float.intBitsToFloat((int) c[i]);
            factors[o + 5] = Float.intBitsToFloat((int) (c[i] >>> 32));
            factors[o + 6] = Float.intBitsToFloat((int) d[i]);
            factors[o + 7] = Float.intBitsToFloat((int) (d[i] >>> 32));
        }
    }
}
