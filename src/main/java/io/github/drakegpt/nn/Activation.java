package io.github.drakegpt.nn;

import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.tensor.Tensor;

/**
 * What one layer hands to the next. Layers are built from the one that they read and the one that they write, so that all
 * their operations exist before the first pass.
 *
 * @param value (rows, C); a scratch buffer where the backward pass does not need it
 * @param grad (rows, C), the gradient of the loss with respect to value; null where nothing is trained
 * @param rounded value rounded to 8 bits, in place of it, where a norm has done so; else null
 */
public record Activation(Tensor value, Tensor grad, Int8Rows rounded) {
    public Activation(Tensor value, Tensor grad) {
        this(value, grad, null);
    }
}
