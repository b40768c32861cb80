package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Int8Rows;
import io.github.drakegpt.tensor.Tensor;

/** Root mean square normalization (Zhang and Sennrich, 2019) of each row, before a layer that can be quantized. */
final class RmsNorm {
    private final Backend backend;
    private final int width;
    private final Parameter weight; // (C)
    private final Tensor stats; // (rows)
    private final Tensor out; // (rows, C)
    private final Int8Rows int8; // or null

    RmsNorm(LayerContext context, String name, int width) {
        this.backend = context.backend();
        this.width = width;
        this.weight = context.parameters().add(name + ".weight", Init.Distribution.constant(1), width);
        this.stats = context.statistics("sub-norm stats", 1);
        this.out = context.activation("sub-normed", width);
        this.int8 = context.packed() ? context.int8Scratch(width) : null;
    }

    /** The normalized rows of x (rows, C). */
    Rows forward(Tensor x, int rows) {
        if (int8 == null) {
            backend.rmsNorm(x, weight.value(), out, stats, rows, width);
        } else {
            backend.rmsNormInt8(x, weight.value(), out, stats, int8, rows, width);
        }
        return new Rows(out, int8);
    }

    /** Writes dx (rows, C) from dout (rows, C). */
    void backward(Tensor x, Tensor dout, Tensor dx, int rows) {
        backend.zero(dx, rows * width);
        backend.rmsNormGrad(x, weight.value(), stats, dout, dx, weight.grad(), rows, width);
    }
}
