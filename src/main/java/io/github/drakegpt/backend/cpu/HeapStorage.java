package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Storage;
import io.github.drakegpt.tensor.Tensor;
import java.lang.reflect.Array;
import java.util.Arrays;

/** A storage in a Java array: the JIT compiler vectorizes loops over arrays, but not over memory outside the heap. */
final class HeapStorage implements Storage {
    private final Object array;

    /** @param array of the type that the elements have */
    HeapStorage(Object array) {
        this.array = array;
    }

    HeapStorage(DType dtype, int length) {
        array = switch (dtype) {
            case F32 -> new float[length];
            case I32 -> new int[length];
            case U16 -> new char[length];
            case I8 -> new byte[length];
            case BF16 ->
                throw new IllegalArgumentException(
                        "The CPU has no tensors of BF16; take F32, of which its bf16 precision rounds what it multiplies.");
        };
    }

    static Object array(Tensor tensor) {
        if (!(tensor.storage() instanceof HeapStorage storage)) {
            throw new IllegalArgumentException("A tensor " + tensor
                    + " that is not on the CPU was given; allocate it in an arena of this device, or wrap an array.");
        }
        return storage.array;
    }

    static float[] floats(Tensor tensor) {
        return (float[]) array(tensor);
    }

    static int[] ints(Tensor tensor) {
        return (int[]) array(tensor);
    }

    static char[] chars(Tensor tensor) {
        return (char[]) array(tensor);
    }

    static byte[] bytes(Tensor tensor) {
        return (byte[]) array(tensor);
    }

    /** Index of the tensor's first element in its array. */
    static int start(Tensor tensor) {
        return (int) tensor.offset();
    }

    /** Zeroes the first n elements. */
    static void zero(Tensor tensor, int n) {
        Arrays.fill(floats(tensor), start(tensor), start(tensor) + n, 0f);
    }

    @Override
    public long size() {
        return Array.getLength(array);
    }

    @Override
    public void read(long offset, Object target, int targetOffset, int length) {
        System.arraycopy(array, (int) offset, target, targetOffset, length);
    }

    @Override
    public void write(long offset, Object source, int sourceOffset, int length) {
        System.arraycopy(source, sourceOffset, array, (int) offset, length);
    }

    @Override
    public Object device() {
        return "the CPU";
    }

    /** Storages that wrap one array share its elements. */
    @Override
    public boolean equals(Object other) {
        return other instanceof HeapStorage that && array == that.array;
    }

    @Override
    public int hashCode() {
        return System.identityHashCode(array);
    }

    @Override
    public void close() {
        // The garbage collector frees the array once no tensor refers to it.
    }
}
