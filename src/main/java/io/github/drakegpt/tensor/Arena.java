package io.github.drakegpt.tensor;

/** Memory that is allocated piece by piece and freed all at once: each model has one. */
public interface Arena extends AutoCloseable {
    /**
     * A new tensor, filled with zeros.
     *
     * @throws OutOfMemoryException if the device has too little memory
     */
    Tensor allocate(DType dtype, Shape shape);

    /** Runs {@code release} when the arena is closed: before its memory is freed, and before earlier ones. */
    void onClose(Runnable release);

    /** Bytes allocated so far. */
    long bytes();

    /** Approximate free memory of the device, in bytes. */
    long available();

    /** Frees the memory; its tensors must not be used any more. */
    @Override
    void close();
}
