package io.github.drakegpt.nn;

import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.QuantizeRowsOp;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Tensor;

/**
 * A weight in floating point; a quantized model multiplies rounded inputs with the rounded weight. Rounding is treated
 * as the identity in the backward pass (the straight-through estimator of Bengio, Leonard and Courville, 2013), so
 * {@link LinearGradOp} of the rounded operands is the whole backward pass.
 */
final class FloatLinearWeight extends LinearWeight {
    private final Tensor strength; // (1), or null
    private final Parameter weight; // (out, in)
    private final Tensor roundedInput; // (rows, in), or null
    private final Tensor roundedWeight; // (out, in), or null
    private QuantizeRowsOp quantizeRows; // or null
    private LinearOp linear;
    private LinearGradOp linearGrad; // or null

    FloatLinearWeight(LayerContext context, Quantization quantization, Parameter weight, int matrices) {
        this.strength = context.strength();
        this.weight = weight;
        boolean rounds = quantization != Quantization.NONE;
        this.roundedInput = rounds ? context.activation(weight.value().shape().columns()) : null;
        this.roundedWeight = rounds ? context.roundedWeight(weight, quantization, matrices) : null;
    }

    @Override
    boolean fusesBias() {
        return false;
    }

    @Override
    void wire(Wiring wiring) {
        Tensor x = wiring.x().value();
        Tensor w = weight.matmulWeights();
        if (roundedWeight != null) {
            quantizeRows = new QuantizeRowsOp(x, strength, roundedInput);
            x = roundedInput;
            w = roundedWeight;
        }
        Tensor bias = wiring.bias() == null ? null : wiring.bias().value();
        linear = new LinearOp(x, w, bias, wiring.relu(), wiring.y().value());
        if (wiring.y().grad() != null) {
            linearGrad = new LinearGradOp(x, w, wiring.y().grad(), wiring.x().grad(), weight.grad(), wiring.biasGrad());
        }
    }

    @Override
    void forward(Operations ops, Pass pass) {
        if (quantizeRows != null) {
            ops.quantizeRows(quantizeRows, pass);
        }
        ops.linear(linear, pass);
    }

    @Override
    void backward(Operations ops, Pass pass) {
        ops.linearGrad(linearGrad, pass);
    }
}
