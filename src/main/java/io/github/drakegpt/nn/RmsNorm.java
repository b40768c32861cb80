package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.tensor.Tensor;

/** Root mean square normalization (Zhang and Sennrich, 2019) of each row. */
final class RmsNorm {
    private final Backend backend;
    private final int width;
    private final Parameter weight; // (C)
    private final Tensor stats; // (rows)
    private final Tensor out; // (rows, C)

    RmsNorm(LayerContext context, String name, int width) {
        this.backend = context.backend();
        this.width = width;
        this.weight = context.parameters().add(name + ".weight", Init.Distribution.constant(1), width);
        this.stats = context.activation(1);
        this.out = context.activation(width);
    }

    /** The normalized rows of x (rows, C). */
    Tensor forward(Tensor x, int rows) {
        backend.rmsNorm(x, weight.value(), out, stats, rows, width);
        return out;
    }

    /** Writes dx (rows, C) from dout (rows, C). */
    void backward(Tensor x, Tensor dout, Tensor dx, int rows) {
        backend.zero(dx, rows * width);
        backend.rmsNormGrad(x, weight.value(), stats, dout, dx, weight.grad(), rows, width);
    }
}
