package io.github.drakegpt.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * A tensor of a file of {@code torch.save}: a view of a storage. Element (i, j, ...) is element
 * {@code offset + i strides[0] + j strides[1] + ...} of the storage.
 */
record TorchTensor(TorchStorage storage, int offset, int[] sizes, int[] strides) {
    /** Most dimensions that PyTorch has. */
    private static final int MAX_RANK = 64;

    /** Why a view is not possible; null if it is. */
    static String problem(TorchStorage storage, long offset, long[] sizes, long[] strides) {
        if (sizes.length != strides.length || sizes.length > MAX_RANK) {
            return "it has " + sizes.length + " dimensions and " + strides.length + " strides";
        }
        long count = 1;
        long last = offset;
        if (offset < 0) {
            return "its offset is negative";
        }
        for (int i = 0; i < sizes.length; i++) {
            if (sizes[i] < 0 || strides[i] < 0) {
                return "a size or a stride is negative";
            }
            if (sizes[i] > Integer.MAX_VALUE || strides[i] > Integer.MAX_VALUE) {
                return "a size or a stride is more than " + Integer.MAX_VALUE;
            }
            count *= sizes[i];
            last += Math.max(0, sizes[i] - 1) * strides[i];
            if (count > Integer.MAX_VALUE || last < 0) { // before anything overflows a second time
                return "it has more than " + Integer.MAX_VALUE + " elements";
            }
        }
        if (count > 0 && last >= storage.elements()) {
            return "it reaches beyond the " + storage.elements() + " elements of its storage";
        }
        return count > storage.elements() ? "it repeats elements of its storage" : null;
    }

    int count() {
        int count = 1;
        for (int size : sizes) {
            count *= size;
        }
        return count;
    }

    /** The elements in row-major order, rounded to float32. */
    float[] toFloats() throws IOException {
        float[] values = new float[count()];
        ByteBuffer bytes = storage.bytes();
        int[] index = new int[sizes.length];
        int at = offset;
        for (int i = 0; i < values.length; i++) {
            values[i] = storage.type().get(bytes, at);
            for (int d = sizes.length - 1; d >= 0; d--) { // to the next index
                at += strides[d];
                if (++index[d] < sizes[d]) {
                    break;
                }
                at -= sizes[d] * strides[d];
                index[d] = 0;
            }
        }
        return values;
    }
}
