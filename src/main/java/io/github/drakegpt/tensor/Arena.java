package io.github.drakegpt.tensor;

/**
 * Memory of a device that is allocated piece by piece and freed all at once, as {@code java.lang.foreign} has it too.
 */
public interface Arena extends AutoCloseable {
    /**
     * A new tensor, filled with zeros.
     *
     * @param dtype type of its elements
     * @param shape its dimensions
     * @return the tensor, which can be used until this arena is closed
     * @throws OutOfMemoryException if the device has too little memory
     */
    Tensor allocate(DType dtype, Shape shape);

    /**
     * A new tensor, filled with zeros.
     *
     * @param dtype type of its elements
     * @param dims its dimensions, outermost first; none for a scalar
     * @return the tensor, which can be used until this arena is closed
     * @throws OutOfMemoryException if the device has too little memory
     * @throws IllegalArgumentException if a dimension is negative
     */
    default Tensor allocate(DType dtype, int... dims) {
        return allocate(dtype, Shape.of(dims));
    }

    /**
     * Has something done when the arena is closed: before its memory is freed, and before what was given earlier.
     *
     * @param release runs once
     */
    void onClose(Runnable release);

    /**
     * Memory allocated so far.
     *
     * @return the number of bytes
     */
    long bytes();

    /**
     * Free memory of the device.
     *
     * @return the approximate number of bytes
     */
    long available();

    /** Frees the memory; its tensors must not be used any more. */
    @Override
    void close();
}
