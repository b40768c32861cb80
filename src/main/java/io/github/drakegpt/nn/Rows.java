package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Int8Rows;
import io.github.drakegpt.tensor.Tensor;

/**
 * What goes into a linear layer.
 *
 * @param values (rows, C), or null
 * @param int8 the same rounded to 8 bits, where a norm has done so already; else null
 */
record Rows(Tensor values, Int8Rows int8) {
    static Rows of(Tensor values) {
        return new Rows(values, null);
    }
}
