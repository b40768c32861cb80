package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.Dropout;
import io.github.drakegpt.tensor.Philox;
import io.github.drakegpt.tensor.RandomStream;

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
        RandomStream stream = dropout.stream();
        int step = HeapStorage.ints(stream.step())[HeapStorage.start(stream.step())];
        Philox.Lanes lanes = scratch.lanes();
        Philox.draw(stream.seed(), stream.purpose(), step, firstBlock, blocks, lanes);
        int skip = (int) (first - firstBlock * PER_BLOCK);
        float[] all = n == PER_BLOCK * blocks ? factors : scratch.floats(MASK_SLOT, PER_BLOCK * blocks);
        long scale = Float.floatToRawIntBits(dropout.scale());
        for (int word = 0; word < 4; word++) {
            decide(lanes.word(word), blocks, dropout.threshold(), scale);
        }
        store(lanes.word(0), lanes.word(1), lanes.word(2), lanes.word(3), blocks, all);
        if (all != factors) {
            System.arraycopy(all, skip, factors, 0, n);
        }
    }

    /**
     * Puts the bits of a factor in place of each random half, the low half's in the low half of the long. The sign of
     * half - threshold decides: no branch, since nobody could predict it, and so the loop is vectorised.
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
