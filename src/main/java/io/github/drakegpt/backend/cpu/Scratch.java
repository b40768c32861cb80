package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.tensor.Philox;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;

/** Arrays that a thread keeps between operations, so that operations allocate nothing once they have run. */
final class Scratch {
    private static final ThreadLocal<Scratch> CURRENT = ThreadLocal.withInitial(Scratch::new);
    private static final int SLOTS = 6;

    private final float[][] floats = new float[SLOTS][0];
    private final Philox.Lanes lanes = new Philox.Lanes();
    private final Masks masks = new Masks();
    private final ShortAttention shortAttention = new ShortAttention();
    private final int[][] ints = new int[2][0];
    private final Matrix[] matrices = {new Matrix(), new Matrix(), new Matrix()};
    private float[] ones = new float[0];

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

    /** A matrix in an array, valid until the next one of the same slot. */
    Matrix matrix(int slot, float[] array, int offset, int rows, int columns, int stride) {
        Matrix matrix = matrices[slot];
        matrix.array = array;
        matrix.offset = offset;
        matrix.rows = rows;
        matrix.columns = columns;
        matrix.stride = stride;
        matrix.transposed = false;
        return matrix;
    }

    /** A tensor (rows, columns) as a matrix. */
    Matrix matrix(int slot, Tensor tensor, int rows, int columns) {
        return matrix(slot, HeapStorage.floats(tensor), HeapStorage.start(tensor), rows, columns, columns);
    }

    /** At least n ones, to be read only. */
    float[] ones(int n) {
        if (ones.length < n) {
            ones = new float[n];
            Arrays.fill(ones, 1f);
        }
        return ones;
    }

    Philox.Lanes lanes() {
        return lanes;
    }

    Masks masks() {
        return masks;
    }

    ShortAttention shortAttention() {
        return shortAttention;
    }

    int[] ints(int slot, int length) {
        if (ints[slot].length < length) {
            ints[slot] = new int[length];
        }
        return ints[slot];
    }
}
