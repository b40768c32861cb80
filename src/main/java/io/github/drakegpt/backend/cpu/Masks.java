package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.Dropout;
import io.github.drakegpt.tensor.Philox;

/** Dropout masks as factors: 0 for an element that is zeroed, the scale for one that stays. */
final class Masks {
    private static final int PER_BLOCK = 8;

    private Masks() {}

    /** Writes the factors of elements {@code first} to {@code first + n - 1}. */
    static void fill(Dropout dropout, long first, int n, float[] factors, int o, Scratch scratch) {
        long firstBlock = first / PER_BLOCK;
        int blocks = (int) ((first + n - 1) / PER_BLOCK - firstBlock + 1);
        int[] words = scratch.ints(4 * blocks);
        Philox.fill(
                dropout.stream().seed(),
                dropout.stream().purpose(),
                HeapStorage.ints(dropout.stream().step())[
                        HeapStorage.start(dropout.stream().step())],
                firstBlock,
                blocks,
                scratch.longs(4 * blocks),
                words);
        int threshold = dropout.threshold();
        int scale = Float.floatToRawIntBits(dropout.scale());
        int skip = (int) (first - firstBlock * PER_BLOCK);
        for (int i = 0; i < n; i++) {
            int e = skip + i;
            int half = words[e >> 1] >>> ((e & 1) << 4) & 0xFFFF;
            // all ones where half >= threshold: no branch, since nobody could predict it
            factors[o + i] = Float.intBitsToFloat(scale & ~(half - threshold >> 31));
        }
    }
}
