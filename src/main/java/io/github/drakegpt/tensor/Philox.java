package io.github.drakegpt.tensor;

/**
 * Philox4x32-10, the counter-based random generator of Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy
 * as 1, 2, 3" (SC 2011). A number is a pure function of (seed, purpose, step, index), so that any thread of any device
 * can draw any number in any order and all of them draw the same ones.
 *
 * <p>Counter words: block index low, block index high with the purpose in its upper 16 bits, step low, step high. Key
 * words: seed low, seed high. A block is four 32-bit words.
 */
public final class Philox {
    private static final long MULTIPLIER_0 = 0xD2511F53L;
    private static final long MULTIPLIER_1 = 0xCD9E8D57L;
    private static final int WEYL_0 = 0x9E3779B9;
    private static final int WEYL_1 = 0xBB67AE85;
    private static final int ROUNDS = 10;
    private static final long LOW = 0xFFFFFFFFL;

    private Philox() {}

    /**
     * Writes the words of {@code blocks} consecutive blocks, four to a block.
     *
     * <p>Runs the rounds over many blocks side by side in long lanes, which the JIT compiler turns into vector code;
     * {@code lanes} is the caller's scratch of at least {@code 4 * blocks} longs.
     *
     * @param purpose what the numbers are for, 0 to 65,535: two purposes never share a number
     * @param firstBlock index of the first block, 0 to 2^48 - 1
     */
    public static void fill(long seed, int purpose, long step, long firstBlock, int blocks, long[] lanes, int[] words) {
        final int b = blocks;
        final int c = 2 * blocks;
        final int d = 3 * blocks;
        for (int i = 0; i < blocks; i++) {
            long index = firstBlock + i;
            lanes[i] = index & LOW;
            lanes[b + i] = index >>> 32 | (long) purpose << 16;
            lanes[c + i] = step & LOW;
            lanes[d + i] = step >>> 32;
        }
        int key0 = (int) seed;
        int key1 = (int) (seed >>> 32);
        for (int round = 0; round < ROUNDS; round++) {
            long k0 = key0 & LOW;
            long k1 = key1 & LOW;
            for (int i = 0; i < blocks; i++) {
                long product0 = lanes[i] * MULTIPLIER_0;
                long product1 = lanes[c + i] * MULTIPLIER_1;
                lanes[i] = (product1 >>> 32) ^ lanes[b + i] ^ k0;
                lanes[c + i] = (product0 >>> 32) ^ lanes[d + i] ^ k1;
                lanes[b + i] = product1 & LOW;
                lanes[d + i] = product0 & LOW;
            }
            key0 += WEYL_0;
            key1 += WEYL_1;
        }
        for (int i = 0; i < blocks; i++) {
            words[4 * i] = (int) lanes[i];
            words[4 * i + 1] = (int) lanes[b + i];
            words[4 * i + 2] = (int) lanes[c + i];
            words[4 * i + 3] = (int) lanes[d + i];
        }
    }

    /** One 32-bit word: word {@code index % 4} of block {@code index / 4}. */
    public static int word(long seed, int purpose, long step, long index) {
        int[] words = new int[4];
        fill(seed, purpose, step, index >>> 2, 1, new long[4], words);
        return words[(int) (index & 3)];
    }

    /** A 32-bit word as a float in [0, 1), from its upper 24 bits. */
    public static float uniform(int word) {
        return (word >>> 8) * 0x1p-24f;
    }

    /**
     * An integer in [0, bound) from a 32-bit word: the high half of word * bound (Lemire, 2019). The largest deviation
     * from equal odds is bound / 2^32.
     */
    public static int below(int word, int bound) {
        return (int) ((word & LOW) * bound >>> 32);
    }
}
