package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.Philox;

/** Arrays that a thread keeps between operations, so that operations allocate nothing once they have run. */
final class Scratch {
    private static final ThreadLocal<Scratch> CURRENT = ThreadLocal.withInitial(Scratch::new);
    private static final int SLOTS = 9;

    private final float[][] floats = new float[SLOTS][0];
    private final Philox.Lanes lanes = new Philox.Lanes();
    private final Masks masks = new Masks();
    private final CpuSampler sampler = new CpuSampler();
    private final int[][] ints = new int[2][0];
    private NativeCall call;
    private final float[][][] rows = new float[6][0][];
    private double[] doubles = new double[0];

    private Scratch() {}

    static Scratch get() {
        return CURRENT.get();
    }

    /** An array of at least {@code length}; arrays that are used at the same time need different slots. */
    float[] floats(int slot, int length) {
        if (floats[slot].length < length) {
            floats[slot] = new float[length];
        }
        return floats[slot];
    }

    /** At least {@code count} arrays of at least {@code length}. */
    float[][] rows(int slot, int count, int length) {
        float[][] kept = rows[slot];
        if (kept.length < count || kept[0].length < length) {
            int longest = kept.length == 0 ? length : Math.max(length, kept[0].length);
            rows[slot] = new float[Math.max(count, kept.length)][longest];
        }
        return rows[slot];
    }

    double[] doubles(int length) {
        if (doubles.length < length) {
            doubles = new double[length];
        }
        return doubles;
    }

    /** Begins a call of native code. */
    NativeCall call(Instructions instructions, NativeCall.Kernel kernel) {
        if (call == null) {
            call = new NativeCall(); // which needs the library
        }
        return call.of(instructions, kernel);
    }

    Philox.Lanes lanes() {
        return lanes;
    }

    Masks masks() {
        return masks;
    }

    CpuSampler sampler() {
        return sampler;
    }

    int[] ints(int slot, int length) {
        if (ints[slot].length < length) {
            ints[slot] = new int[length];
        }
        return ints[slot];
    }
}
