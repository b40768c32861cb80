package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.tensor.Tensor;

/** y = x weight^T + bias. */
public final class Linear {
    private final Backend backend;
    private final int in;
    private final int out;
    private final Parameter weight; // (out, in)
    private final Parameter bias; // (out)

    public Linear(LayerContext context, String name, int in, int out) {
        this(context, name, in, out, context.init().weight(in));
    }

    private Linear(LayerContext context, String name, int in, int out, Init.Distribution weightInit) {
        this.backend = context.backend();
        this.in = in;
        this.out = out;
        this.weight = context.parameters().add(name + ".weight", weightInit, out, in);
        this.bias = context.parameters().add(name + ".bias", context.init().bias(in), out);
    }

    /** A layer whose output is added to the residual stream of {@code layers} blocks. */
    static Linear residual(LayerContext context, String name, int in, int out, int layers) {
        return new Linear(context, name, in, out, context.init().residualWeight(in, layers));
    }

    /** Writes y (rows, out) from x (rows, in). */
    public void forward(Tensor x, Tensor y, int rows) {
        backend.linear(x, weight.value(), bias.value(), false, y, rows, in, out);
    }

    /** The same with ReLU; its gradient is {@link Backend#reluGrad}, before {@link #backward}. */
    void forwardRelu(Tensor x, Tensor y, int rows) {
        backend.linear(x, weight.value(), bias.value(), true, y, rows, in, out);
    }

    /** Writes dx (rows, in) and the parameters' gradients from dy (rows, out). */
    public void backward(Tensor x, Tensor dy, Tensor dx, int rows) {
        backend.linearGrad(x, weight.value(), dy, dx, weight.grad(), bias.grad(), rows, in, out);
    }
}
