package io.github.drakegpt.nn;

import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.QuantizeInt8Op;
import io.github.drakegpt.tensor.Tensor;

/** A packed weight, which multiplies rows that are rounded to 8 bits and cannot be trained. */
final class PackedLinearWeight extends LinearWeight {
    private final PackedWeights weight;
    private final Int8Rows scratch;
    private QuantizeInt8Op quantizeInput; // null where a norm does it
    private PackedLinearOp linear;

    PackedLinearWeight(LayerContext context, PackedWeights weight) {
        this.weight = weight;
        this.scratch = context.int8Scratch(weight.in());
    }

    @Override
    boolean fusesBias() {
        return true;
    }

    @Override
    void wire(Wiring wiring) {
        Int8Rows rounded = wiring.x().rounded();
        quantizeInput = rounded == null ? new QuantizeInt8Op(wiring.x().value(), scratch) : null;
        Tensor bias = wiring.bias() == null ? null : wiring.bias().value();
        linear = new PackedLinearOp(
                rounded == null ? scratch : rounded,
                weight,
                bias,
                wiring.relu(),
                wiring.y().value());
    }

    @Override
    void forward(Operations ops, Pass pass) {
        if (quantizeInput != null) {
            ops.quantizeInt8(quantizeInput, pass);
        }
        ops.packedLinear(linear, pass);
    }

    @Override
    void backward(Operations ops, Pass pass) {
        throw new IllegalStateException("Packed weights cannot be trained; train the run that they were made from.");
    }
}
