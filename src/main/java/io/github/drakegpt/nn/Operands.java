package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Tensor;

/**
 * What a linear layer multiplies: its input and its weight, in a quantized model both rounded first. The rounding has no
 * gradient of its own: what the product gives the rounded ones is taken for the gradient of the others (the straight-through
 * estimator of Bengio, Leonard and Courville, 2013). So {@link Backend#linearGrad} of the operands is the whole backward pass.
 */
final class Operands {
    private final Backend backend;
    private final Quantization quantization;
    private final Parameter parameter; // (out, in)
    private final int in;
    private final int matrices;
    private final int elements; // of each matrix
    private final Tensor roundedInput; // (rows, in), or null
    private final Tensor roundedWeight; // (out, in), or null
    private Tensor input;

    /**
     * @param parameter the weight (out, in)
     * @param matrices of how many matrices, stacked along the first dimension, it consists: each has its own scale
     */
    Operands(LayerContext context, Quantization quantization, Parameter parameter, int in, int matrices) {
        this.backend = context.backend();
        this.quantization = quantization;
        this.parameter = parameter;
        this.in = in;
        this.matrices = matrices;
        this.elements = Math.toIntExact(parameter.shape().size() / matrices);
        boolean rounds = quantization != Quantization.NONE;
        this.roundedInput = rounds ? context.activation(in) : null;
        this.roundedWeight = rounds ? context.allocate(parameter.shape()) : null;
    }

    /** Prepares a forward pass over x (rows, in). */
    void prepare(Tensor x, int rows) {
        if (quantization == Quantization.NONE) {
            input = x;
            return;
        }
        backend.quantizeWeights(parameter.value(), quantization, roundedWeight, matrices, elements);
        backend.quantizeRows(x, roundedInput, rows, in);
        input = roundedInput;
    }

    /** The input of the last forward pass (rows, in). */
    Tensor input() {
        return input;
    }

    /** The weight (out, in). */
    Tensor weight() {
        return quantization == Quantization.NONE ? parameter.value() : roundedWeight;
    }
}
