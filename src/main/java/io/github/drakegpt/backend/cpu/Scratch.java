package io.github.drakegpt.backend.cpu;

/** Arrays that a thread keeps between operations, so that operations allocate nothing once they have run. */
final class Scratch {
    private static final ThreadLocal<Scratch> CURRENT = ThreadLocal.withInitial(Scratch::new);
    private static final int SLOTS = 6;

    private final float[][] floats = new float[SLOTS][0];
    private long[] longs = new long[0];
    private int[] ints = new int[0];

    private Scratch() {}

    static Scratch get() {
        return CURRENT.get();
    }

    /** An array of at least {@code length}; the slot tells apart those that are in use at the same time. */
    float[] floats(int slot, int length) {
        if (floats[slot].length < length) {
            floats[slot] = new float[length];
        }
        return floats[slot];
    }

    long[] longs(int length) {
        if (longs.length < length) {
            longs = new long[length];
        }
        return longs;
    }

    int[] ints(int length) {
        if (ints.length < length) {
            ints = new int[length];
        }
        return ints;
    }
}
