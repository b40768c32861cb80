package io.github.drakegpt.tensor;

/**
 * A block of elements in the memory of one backend. Backends implement it; all other code reads and writes through
 * {@link Tensor}. Copies are element by element in row-major order and complete when the call returns.
 */
public interface Storage extends AutoCloseable {
    /**
     * Number of elements.
     *
     * @return the length
     */
    long size();

    /**
     * Copies elements to the host.
     *
     * @param offset index of the first element
     * @param array of the Java type that the element type has
     * @param arrayOffset index of the first one in the array
     * @param length number of elements
     */
    void read(long offset, Object array, int arrayOffset, int length);

    /**
     * Copies elements from the host.
     *
     * @param offset index of the first element
     * @param array of the Java type that the element type has
     * @param arrayOffset index of the first one in the array
     * @param length number of elements
     */
    void write(long offset, Object array, int arrayOffset, int length);

    /**
     * The owner of the memory: equal for all tensors that can be operands of one operation. Error messages name it by
     * its text.
     *
     * @return the owner
     */
    Object device();

    /** Frees the memory; its tensors must not be used any more. */
    @Override
    void close();
}
