package io.github.drakegpt.backend;

import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.tensor.Tensor;

/**
 * A library's versions of some {@link Operations}, for comparison. Tensors of an operation are all F32 or all BF16; an
 * {@link UnsupportedOperationException} says that the library does not support it for them.
 */
public interface LibraryOperations {
    /** The library: {@code cuDNN}. */
    String library();

    /** {@link Operations#softmax} of whole rows; x and y are different tensors. */
    void softmax(Tensor x, Tensor y, int rows, int c);

    /** {@link Operations#softmaxGrad} of whole rows. */
    void softmaxGrad(Tensor y, Tensor dy, Tensor dx, int rows, int c);

    /** y = max(x, 0), n elements each; a part of {@link Operations#linear}. */
    void relu(Tensor x, Tensor y, int n);

    /** {@link Operations#reluGrad} without the bias; n elements. */
    void reluGrad(Tensor y, Tensor dy, int n);
}
