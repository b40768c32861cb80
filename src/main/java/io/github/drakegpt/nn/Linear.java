package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.List;

/** y = x weight^T + bias; in a quantized model with x and weight rounded, and bias as it is. */
public final class Linear {
    private final Product product;
    private final Parameter bias; // (out)

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
        String weight = name + ".weight";
        this.product = Product.create(context, quantization, weight, List.of(weight), Shape.of(out, in), weightInit);
        this.bias = context.parameters().add(name + ".bias", context.init().bias(in), out);
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
        forward(Rows.of(x), y, rows);
    }

    void forward(Rows x, Tensor y, int rows) {
        product.forward(x, bias.value(), false, y, rows);
    }

    /** The same with ReLU; its gradient and the bias's is {@link Backend#reluGrad}, before {@link #backwardWithoutBias}. */
    void forwardRelu(Rows x, Tensor y, int rows) {
        product.forward(x, bias.value(), true, y, rows);
    }

    /**
     * Writes y (rows, out) from x (rows, in) for a residual sum, which adds the bias that this answers; null if that has been
     * done, at no cost.
     */
    Tensor forwardBranch(Rows x, Tensor y, int rows) {
        boolean added = product.addsBiasForNothing();
        product.forward(x, added ? bias.value() : null, false, y, rows);
        return added ? null : bias.value();
    }

    /** Writes dx (rows, in) and the parameters' gradients from dy (rows, out). */
    public void backward(Tensor dy, Tensor dx, int rows) {
        product.backward(dy, dx, bias.grad(), rows);
    }

    /** The same but for the gradient of the bias, which whoever wrote dy has put into {@link #biasGrad}. */
    void backwardWithoutBias(Tensor dy, Tensor dx, int rows) {
        product.backward(dy, dx, null, rows);
    }

    Tensor biasGrad() {
        return bias.grad();
    }
}
