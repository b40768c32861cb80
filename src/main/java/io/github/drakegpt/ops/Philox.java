package io.github.drakegpt.ops;

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
     * Many blocks: an array for each of their four words, as non-negative longs. Not parts of one array, since the JIT
     * compiler vectorizes loops over several arrays only if all are indexed alike.
     */
    public static final class Lanes {
        private long[] a = new long[0];
        private long[] b = a;
        private long[] c = a;
        private long[] d = a;

        private void ensure(int blocks) {
            if (a.length < blocks) {
                a = new long[blocks];
                b = new long[blocks];
                c = new long[blocks];
                d = new long[blocks];
            }
        }

        /** Word 0 to 3 of each block. The caller may use the array until the next draw. */
        public long[] word(int number) {
            return switch (number) {
                case 0 -> a;
                case 1 -> b;
                case 2 -> c;
                default -> d;
            };
        }
    }

    /**
     * Draws {@code blocks} consecutive blocks into lanes.
     *
     * @param purpose of the numbers, 0 to 65,535: two purposes never share a number
     * @param firstBlock index of the first block, 0 to 2^48 - 1
     */
    public static void draw(long seed, int purpose, long step, long firstBlock, int blocks, Lanes lanes) {
        lanes.ensure(blocks);
        long[] a = lanes.a;
        long[] b = lanes.b;
        long[] c = lanes.c;
        long[] d = lanes.d;
        for (int i = 0; i < blocks; i++) {
            long index = firstBlock + i;
            a[i] = index & LOW;
            b[i] = index >>> 32 | (long) purpose << 16;
            c[i] = step & LOW;
            d[i] = step >>> 32;
        }
        int key0 = (int) seed;
        int key1 = (int) (seed >>> 32);
        for (int round = 0; round < ROUNDS; round++) {
            halfRound(c, b, blocks, MULTIPLIER_1, key0 & LOW);
            halfRound(a, d, blocks, MULTIPLIER_0, key1 & LOW);
            // the words change places: b and c hold the new a and b, d and a the new c and d
            long[] newA = b;
            b = c;
            c = d;
            d = a;
            a = newA;
            key0 += WEYL_0;
            key1 += WEYL_1;
        }
        lanes.a = a;
        lanes.b = b;
        lanes.c = c;
        lanes.d = d;
    }

    /** Writes the words of the blocks that {@link #draw} draws, four to a block. */
    public static void fill(long seed, int purpose, long step, long firstBlock, int blocks, Lanes lanes, int[] words) {
        draw(seed, purpose, step, firstBlock, blocks, lanes);
        for (int i = 0; i < blocks; i++) {
            words[4 * i] = (int) lanes.a[i];
            words[4 * i + 1] = (int) lanes.b[i];
            words[4 * i + 2] = (int) lanes.c[i];
            words[4 * i + 3] = (int) lanes.d[i];
        }
    }

    /** With the product of x: y = y ^ its high half ^ key, x = its low half. Short, so that it is vectorized. */
    private static void halfRound(long[] x, long[] y, int blocks, long multiplier, long key) {
        for (int i = 0; i < blocks; i++) {
            long product = x[i] * multiplier;
            y[i] ^= product >>> 32 ^ key;
            x[i] = product & LOW;
        }
    }

    /** One 32-bit word: word {@code index % 4} of block {@code index / 4}. */
    public static int word(long seed, int purpose, long step, long index) {
        int[] words = new int[4];
        fill(seed, purpose, step, index >>> 2, 1, new Lanes(), words);
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
