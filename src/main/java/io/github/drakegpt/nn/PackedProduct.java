package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Int8Rows;
import io.github.drakegpt.backend.PackedWeights;
import io.github.drakegpt.tensor.Tensor;

/** A product of rows rounded to 8 bits and packed weights, which cannot be trained. */
final class PackedProduct extends Product {
    private final Backend backend;
    private final PackedWeights weights;
    private final Int8Rows rounded;

    PackedProduct(LayerContext context, PackedWeights weights) {
        this.backend = context.backend();
        this.weights = weights;
        this.rounded = context.int8Scratch(weights.in());
    }

    @Override
    void forward(Rows x, Tensor bias, boolean relu, Tensor y, int rows) {
        if (x.int8() == null) {
            backend.quantizeInt8(x.values(), rounded, rows, weights.in());
        }
        backend.packedLinear(x.int8() == null ? rounded : x.int8(), weights, bias, relu, y, rows);
    }

    @Override
    boolean addsBiasForNothing() {
        return true;
    }

    @Override
    void backward(Tensor dy, Tensor dx, Tensor dbias, int rows) {
        throw new IllegalStateException("Packed weights cannot be trained; train the run that they were made from.");
    }
}
