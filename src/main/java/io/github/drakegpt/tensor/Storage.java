package io.github.drakegpt.tensor;

/**
 * A block of elements in the memory of one backend. Backends implement it; everyone else reads and writes through
 * {@link Tensor}. Copies are element by element in row-major order and complete when the call returns.
 */
public interface Storage extends AutoCloseable {
    /** Copies {@code length} elements, starting at element {@code offset}, into an array that fits the element type. */
    void read(long offset, Object array, int arrayOffset, int length);

    /** Copies {@code length} elements of an array that fits the element type to element {@code offset}. */
    void write(long offset, Object array, int arrayOffset, int length);

    /**
     * What the memory belongs to: equal for all tensors that an operation can work on together. Its text names it in error
     * messages.
     */
    Object device();

    /** Gives the memory back; tensors over it must not be used any more. */
    @Override
    void close();
}
