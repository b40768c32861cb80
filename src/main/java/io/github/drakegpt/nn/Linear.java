package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Tensor;

/** y = x weight^T + bias; in a quantized model with x and weight rounded, and bias as it is. */
public final class Linear {
    private final Backend backend;
    private final int in;
    private final int out;
    private final Parameter weight; // (out, in)
    private final Parameter bias; // (out)
    private final Operands operands;

    /** A layer that is never quantized. */
    public Linear(LayerContext context, String name, int in, int out) {
        this(context, Quantization.NONE, name, in, out, context.init().weight(in));
    }

    private Linear(
            LayerContext context,
            Quantization quantization,
            String name,
            int in,
            int out,
            Init.Distribution weightInit) {
        this.backend = context.backend();
        this.in = in;
        this.out = out;
        this.weight = context.parameters().add(name + ".weight", weightInit, out, in);
        this.bias = context.parameters().add(name + ".bias", context.init().bias(in), out);
        this.operands = new Operands(context, quantization, weight, in, 1);
    }

    /** A layer that is quantized if the model is: BitLinear, as the papers call it. */
    static Linear quantizable(LayerContext context, String name, int in, int out) {
        return new Linear(
                context, context.quantization(), name, in, out, context.init().weight(in));
    }

    /** Such a layer whose output is added to the residual stream of {@code layers} blocks. */
    static Linear residual(LayerContext context, String name, int in, int out, int layers) {
        return new Linear(
                context, context.quantization(), name, in, out, context.init().residualWeight(in, layers));
    }

    /** Writes y (rows, out) from x (rows, in). */
    public void forward(Tensor x, Tensor y, int rows) {
        forward(x, false, y, rows);
    }

    /** The same with ReLU; its gradient is {@link Backend#reluGrad}, before {@link #backward}. */
    void forwardRelu(Tensor x, Tensor y, int rows) {
        forward(x, true, y, rows);
    }

    private void forward(Tensor x, boolean relu, Tensor y, int rows) {
        operands.prepare(x, rows);
        backend.linear(operands.input(), operands.weight(), bias.value(), relu, y, rows, in, out);
    }

    /** Writes dx (rows, in) and the parameters' gradients from dy (rows, out). */
    public void backward(Tensor dy, Tensor dx, int rows) {
        backend.linearGrad(operands.input(), operands.weight(), dy, dx, weight.grad(), bias.grad(), rows, in, out);
    }
}
