package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.tensor.Philox;

/** Arrays that a thread keeps between operations, so that operations allocate nothing once they have run. */
final class Scratch {
    private static final ThreadLocal<Scratch> CURRENT = ThreadLocal.withInitial(Scratch::new);
    private static final int SLOTS = 8;

    private final float[][] floats = new float[SLOTS][0];
    private final Philox.Lanes lanes = new Philox.Lanes();
    private final Masks masks = new Masks();
    private final int[][] ints = new int[2][0];
    private final NativeCall call = new NativeCall();

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

    /** Begins a call of native code. */
    NativeCall call(Instructions instructions, NativeCall.Kernel kernel) {
        return call.of(instructions, kernel);
    }

    Philox.Lanes lanes() {
        return lanes;
    }

    Masks masks() {
        return masks;
    }

    int[] ints(int slot, int length) {
        if (ints[slot].length < length) {
            ints[slot] = new int[length];
        }
        return ints[slot];
    }
}
