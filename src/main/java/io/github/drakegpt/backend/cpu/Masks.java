package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.Dropout;
import io.github.drakegpt.tensor.Philox;

/** Dropout masks as factors: 0 for an element that is zeroed, the scale for one that stays. */
final class Masks {
    private static final int PER_BLOCK = 8;

    /** Scratch that no operation with a mask uses for anything else. */
    private static final int MASK_SLOT = 6;

    private Masks() {}

    /** Writes the factors of elements {@code first} to {@code first + n - 1} into the beginning of an array. */
    static void fill(Dropout dropout, long first, int n, float[] factors, Scratch scratch) {
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
                scratch.lanes(),
                words);
        int threshold = dropout.threshold();
        int scale = Float.floatToRawIntBits(dropout.scale());
        int skip = (int) (first - firstBlock * PER_BLOCK);
        float[] all = skip == 0 && n % 2 == 0 ? factors : scratch.floats(MASK_SLOT, PER_BLOCK * blocks);
        for (int w = 0; w < (skip + n + 1) / 2; w++) {
            int word = words[w];
            // all ones where a half >= threshold: no branch, since nobody could predict it
            all[2 * w] = Float.intBitsToFloat(scale & ~((word & 0xFFFF) - threshold >> 31));
            all[2 * w + 1] = Float.intBitsToFloat(scale & ~((word >>> 16) - threshold >> 31));
        }
        if (all != factors) {
            System.arraycopy(all, skip, factors, 0, n);
        }
    }
}
