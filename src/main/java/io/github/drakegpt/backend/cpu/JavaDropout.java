package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.Philox;
import io.github.drakegpt.ops.RandomStream;

/**
 * Masks of dropout as factors, 0 for an element that is dropped, the scale for one that is kept: the definition of their
 * bits, and what machines without native code compute.
 */
class JavaDropout {
    private static final int PER_BLOCK = 8; // factors from the halves of a block's four words
    private static final int MOST_BLOCKS = 16; // that are drawn together, whatever is left

    /**
     * An array that begins with the factors of elements {@code first} to {@code first + n - 1}, to be read only. Null
     * where the pass drops none.
     */
    final float[] mask(Dropout dropout, Pass pass, long first, int n) {
        boolean drops = dropout != null && pass.training();
        return drops ? Scratch.get().masks().get(this, dropout, first, n) : null;
    }

    static int step(RandomStream stream) {
        return HeapStorage.ints(stream.step())[HeapStorage.start(stream.step())];
    }

    /** Draws a mask into an array, or a larger one. */
    final float[] draw(Dropout dropout, long first, int n, float[] factors) {
        long firstBlock = first / PER_BLOCK;
        int blocks = (int) ((first + n - 1) / PER_BLOCK - firstBlock + 1);
        int length = PER_BLOCK * (blocks + MOST_BLOCKS);
        float[] drawn = factors.length < length ? new float[length] : factors;
        drawBlocks(dropout, firstBlock, blocks, drawn);
        int skip = (int) (first - firstBlock * PER_BLOCK);
        if (skip > 0) {
            System.arraycopy(drawn, skip, drawn, 0, n);
        }
        return drawn;
    }

    /** factors (blocks, 8) = those of some blocks; behind them up to {@link #MOST_BLOCKS} more may be written. */
    void drawBlocks(Dropout dropout, long firstBlock, int blocks, float[] factors) {
        RandomStream stream = dropout.stream();
        Philox.Lanes lanes = Scratch.get().lanes();
        Philox.draw(stream.seed(), stream.purpose(), step(stream), firstBlock, blocks, lanes);
        for (int word = 0; word < 4; word++) {
            decide(lanes.word(word), blocks, dropout.threshold(), Float.floatToRawIntBits(dropout.scale()));
        }
        store(lanes.word(0), lanes.word(1), lanes.word(2), lanes.word(3), blocks, factors);
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
