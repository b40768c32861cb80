package io.github.drakegpt.backend;

import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;

/** Memory that is taken piece by piece and given back all at once: each model has one. */
public interface Arena extends AutoCloseable {
    /**
     * A new tensor, filled with zeros.
     *
     * @throws OutOfMemoryException if the device cannot give that much
     */
    Tensor allocate(DType dtype, Shape shape);

    /** Bytes allocated so far. */
    long bytes();

    /** Bytes that the device could still give: about as large may what is allocated next be, all in all. */
    long available();

    /** Gives the memory back; its tensors must not be used any more. */
    @Override
    void close();
}
