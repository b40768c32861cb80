package io.github.drakegpt.nn;

import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;

/** A trained tensor: a view of the flat buffers of parameters and of gradients, set once those exist. */
public final class Parameter {
    private final Shape shape;
    private final long offset;
    private final Init.Distribution init;
    private Tensor value;
    private Tensor factor;
    private Tensor grad;

    Parameter(Shape shape, long offset, Init.Distribution init) {
        this.shape = shape;
        this.offset = offset;
        this.init = init;
    }

    void bind(Tensor values, Tensor factors, Tensor grads) {
        value = values.slice(offset, shape);
        factor = factors.slice(offset, shape);
        grad = grads == null ? null : grads.slice(offset, shape);
    }

    Shape shape() {
        return shape;
    }

    long offset() {
        return offset;
    }

    Init.Distribution init() {
        return init;
    }

    /** The values. */
    public Tensor value() {
        return value;
    }

    /** The values as matrix products take them: rounded, if that is the precision of the model. */
    Tensor factor() {
        return factor;
    }

    /** The gradient, of the same shape; null in a model that is not trained. */
    public Tensor grad() {
        return grad;
    }
}
