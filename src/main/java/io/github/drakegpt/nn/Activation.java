package io.github.drakegpt.nn;

import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.tensor.Tensor;

/**
 * Output of one layer and input of the next. A layer is built from the activation that it reads and the one that it
 * writes, so that all its operations exist before the first pass.
 *
 * @param value (rows, C); a scratch buffer where the backward pass does not need it
 * @param grad (rows, C), the gradient of the loss with respect to value; null where nothing is trained
 * @param rounded value rounded to 8 bits, where a norm writes that instead of value; else null
 */
public record Activation(Tensor value, Tensor grad, Int8Rows rounded) {
    public Activation(Tensor value, Tensor grad) {
        this(value, grad, null);
    }
}
