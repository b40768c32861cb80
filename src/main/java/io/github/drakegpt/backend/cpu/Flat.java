package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.tensor.Tensor;

/**
 * Tensors as arrays that begin with their first element. The JIT compiler vectorizes a loop over several arrays only if
 * all are indexed alike, as in {@code y[i] = a[i] + b[i]}: with different offsets it cannot rule out that one overlaps
 * another. Activations begin at index 0 anyway; other tensors are copied, and copied back.
 */
final class Flat {
    private Flat() {}

    /** The first n elements, to be read. */
    static float[] in(Tensor tensor, int n, Scratch scratch, int slot) {
        float[] array = HeapStorage.floats(tensor);
        int start = HeapStorage.start(tensor);
        if (start == 0) {
            return array;
        }
        float[] copy = scratch.floats(slot, n);
        System.arraycopy(array, start, copy, 0, n);
        return copy;
    }

    /** An array for the first n elements, to be written before {@link #store}. */
    static float[] out(Tensor tensor, int n, Scratch scratch, int slot) {
        return HeapStorage.start(tensor) == 0 ? HeapStorage.floats(tensor) : scratch.floats(slot, n);
    }

    /** Copies an array from {@link #in} or {@link #out} into its tensor, if it is a copy. */
    static void store(float[] array, Tensor tensor, int n) {
        if (HeapStorage.start(tensor) != 0) {
            System.arraycopy(array, 0, HeapStorage.floats(tensor), HeapStorage.start(tensor), n);
        }
    }

    /** Copies one row into all rows, doubling the copied part each time. */
    static void fillRows(float[] row, int ro, float[] rows, int o, int count, int width) {
        System.arraycopy(row, ro, rows, o, width);
        int total = count * width;
        for (int filled = width; filled < total; filled *= 2) {
            System.arraycopy(rows, o, rows, o + filled, Math.min(filled, total - filled));
        }
    }
}
