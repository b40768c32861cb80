package io.github.drakegpt.tensor;

/** Memory that is taken piece by piece and given back all at once: each model has one. */
public interface Arena extends AutoCloseable {
    /**
     * A new tensor, filled with zeros.
     *
     * @throws OutOfMemoryException if the device cannot give that much
     */
    Tensor allocate(DType dtype, Shape shape);

    /** Makes closing the arena do this too: before its memory goes, and before what was asked for earlier. */
    void onClose(Runnable release);

    /** Bytes allocated so far. */
    long bytes();

    /** About how many bytes the device could still give. */
    long available();

    /** Gives the memory back; its tensors must not be used any more. */
    @Override
    void close();
}
