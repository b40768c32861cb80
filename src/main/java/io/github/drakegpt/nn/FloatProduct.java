package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Tensor;

/**
 * A product in floating point; in a quantized model of the rounded input and the rounded weight. The rounding has no gradient of its
 * own: what the product gives the rounded ones is taken for the gradient of the others (the straight-through estimator of
 * Bengio, Leonard and Courville, 2013). So {@link Backend#linearGrad} of what was multiplied is the whole backward pass.
 */
final class FloatProduct extends Product {
    private final Backend backend;
    private final Quantization quantization;
    private final Tensor strength; // (1), or null
    private final Parameter parameter; // (out, in)
    private final int out;
    private final int in;
    private final int matrices;
    private final Tensor roundedInput; // (rows, in), or null
    private final Tensor roundedWeight; // (out, in), or null
    private Tensor input;
    private Tensor weight;

    FloatProduct(LayerContext context, Quantization quantization, Parameter parameter, int out, int in, int matrices) {
        this.backend = context.backend();
        this.quantization = quantization;
        this.strength = context.strength();
        this.parameter = parameter;
        this.out = out;
        this.in = in;
        this.matrices = matrices;
        boolean rounds = quantization != Quantization.NONE;
        this.roundedInput = rounds ? context.activation(in) : null;
        this.roundedWeight = rounds ? context.allocate(parameter.shape()) : null;
    }

    @Override
    void forward(Rows x, Tensor bias, boolean relu, Tensor y, int rows) {
        if (quantization == Quantization.NONE) {
            input = x.values();
            weight = parameter.factor();
        } else {
            input = roundedInput;
            weight = roundedWeight;
            backend.quantizeWeights(parameter.value(), quantization, strength, weight, matrices, out / matrices * in);
            backend.quantizeRows(x.values(), strength, input, rows, in);
        }
        backend.linear(input, weight, bias, relu, y, rows, in, out);
    }

    @Override
    boolean addsBiasForNothing() {
        return false;
    }

    @Override
    void backward(Tensor dy, Tensor dx, Tensor dbias, int rows) {
        backend.linearGrad(input, weight, dy, dx, parameter.grad(), dbias, rows, in, out);
    }
}
