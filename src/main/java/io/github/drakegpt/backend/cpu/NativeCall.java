package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.tensor.Tensor;
import java.lang.reflect.Array;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.util.Arrays;
import java.util.Objects;

/**
 * A call of {@code native/cpu}: a kernel, its arrays and its numbers, which the kernel takes in the order in which they
 * are given here. Native code works on the Java arrays themselves and checks nothing, so each array is checked here to
 * hold what the kernel will touch. A thread reuses its instance, {@link Scratch#call}: a call allocates nothing.
 */
final class NativeCall {
    /** What there is to call, in the order of native/cpu/kernels.h. */
    enum Kernel {
        LINEAR,
        LINEAR_GRAD,
        LINEAR_BF16,
        LINEAR_GRAD_BF16,
        RELU_GRAD,
        LAYER_NORM,
        LAYER_NORM_GRAD,
        RMS_NORM,
        RMS_NORM_GRAD,
        RESIDUAL,
        RESIDUAL_GRAD,
        ATTENTION,
        ATTENTION_GRAD,
        ATTENTION_CACHED,
        SOFTMAX,
        SOFTMAX_GRAD,
        CROSS_ENTROPY,
        QUANTIZE_WEIGHTS,
        QUANTIZE_ROWS,
        QUANTIZE_INT8,
        PACKED_LINEAR,
        PEAK_INT8,
        SUM,
        SQUARES,
        ADAMW,
        DROPOUT_MASK,
        PEAK_FP32,
        PEAK_BF16,
        READ
    }

    private static final int MOST_ARRAYS = 8; // as in native/cpu/call_jni.cpp
    private static final int MOST_NUMBERS = 24;

    private final Object[] arrays = new Object[MOST_ARRAYS];
    private final IntBuffer numbers; // where each array begins, then the numbers
    private final long address; // of the numbers
    private Instructions instructions;
    private Kernel kernel;
    private int count;
    private int written; // a bit for each array
    private int next;

    NativeCall() {
        ByteBuffer memory =
                ByteBuffer.allocateDirect(Integer.BYTES * MOST_NUMBERS).order(ByteOrder.nativeOrder());
        numbers = memory.asIntBuffer();
        address = address(memory);
    }

    /** Begins a call. */
    NativeCall of(Instructions instructions, Kernel kernel) {
        this.instructions = instructions;
        this.kernel = kernel;
        Arrays.fill(arrays, null);
        count = 0;
        written = 0;
        next = MOST_ARRAYS;
        return this;
    }

    /**
     * Adds an array that is read.
     *
     * @param x a tensor, or null
     * @param elements that the kernel will use
     * @throws IndexOutOfBoundsException if the array has less
     */
    NativeCall read(Tensor x, long elements) {
        return read(x, 0, elements);
    }

    /** Adds an array that is read, from one of the tensor's elements on. */
    NativeCall read(Tensor x, long from, long elements) {
        if (x == null) {
            return add(null, 0);
        }
        Object array = HeapStorage.array(x);
        return add(array, (int) Objects.checkFromIndexSize(x.offset() + from, elements, Array.getLength(array)));
    }

    /** Adds an array that is written, or read and written. */
    NativeCall write(Tensor x, long elements) {
        return write(x, 0, elements);
    }

    /** Adds an array that is written, or read and written, from one of the tensor's elements on. */
    NativeCall write(Tensor x, long from, long elements) {
        written |= 1 << count;
        return read(x, from, elements);
    }

    /** Adds scratch memory, or null, that is read. */
    NativeCall read(float[] x, long elements) {
        return read(x, 0, elements);
    }

    /** Adds scratch memory, or null, that is read from an element on. */
    NativeCall read(float[] x, int from, long elements) {
        if (x != null) {
            Objects.checkFromIndexSize(from, elements, (long) x.length);
        }
        return add(x, from);
    }

    /** Adds scratch memory that is written, or read and written. */
    NativeCall write(float[] x, long elements) {
        return write(x, 0, elements);
    }

    /** Adds scratch memory that is written, or read and written, from an element on. */
    NativeCall write(float[] x, int from, long elements) {
        Objects.checkFromIndexSize(from, elements, (long) x.length);
        written |= 1 << count;
        return add(x, from);
    }

    private NativeCall add(Object array, int start) {
        arrays[count] = array;
        numbers.put(count++, start);
        return this;
    }

    NativeCall number(int x) {
        numbers.put(next++, x);
        return this;
    }

    NativeCall number(float x) {
        return number(Float.floatToRawIntBits(x));
    }

    NativeCall number(boolean x) {
        return number(x ? 1 : 0);
    }

    void run() {
        Object[] a = arrays;
        run(instructions.ordinal(), kernel.ordinal(), written, address, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
    }

    private static native long address(ByteBuffer memory);

    // Arrays one by one: to take them out of an array would be a call for each.
    private static native void run(
            int instructions,
            int kernel,
            int written,
            long numbers,
            Object a0,
            Object a1,
            Object a2,
            Object a3,
            Object a4,
            Object a5,
            Object a6,
            Object a7);
}
