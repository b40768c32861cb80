package io.github.drakegpt.tensor;

/**
 * A block of elements in the memory of one backend. Backends implement it; all other code reads and writes through
 * {@link Tensor}. Copies are element by element in row-major order and complete when the call returns.
 */
public interface Storage extends AutoCloseable {
    /** Copies {@code length} elements, starting at element {@code offset}, into an array that fits the element type. */
    void read(long offset, Object array, int arrayOffset, int length);

    /** Copies {@code length} elements of an array that fits the element type to element {@code offset}. */
    void write(long offset, Object array, int arrayOffset, int length);

    /**
     * The owner of the memory: equal for all tensors that can be operands of one operation. Error messages name it by
     * its text.
     */
    Object device();

    /** Frees the memory; its tensors must not be used any more. */
    @Override
    void close();
}
