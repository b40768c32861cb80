package io.github.drakegpt.nn;

import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;

/** Layer normalization (Ba, Kiros and Hinton, 2016) of each row, alone or together with the residual sum before it. */
public final class LayerNorm {
    private final LayerNormOp norm;
    private final LayerNormGradOp normGrad; // or null

    /**
     * @param x the norm's input; the backward pass adds to its grad
     * @param sum the residual sum that gives x, computed together with the norm, forward and backward; null if x is
     *     already computed
     * @param out gets the norm
     */
    LayerNorm(LayerContext context, String name, Activation x, ResidualSum sum, Activation out) {
        int width = x.value().shape().columns();
        Parameter weight = context.parameters().add(name + ".weight", Init.Distribution.constant(1), width);
        Parameter bias = context.parameters().add(name + ".bias", Init.Distribution.constant(0), width);
        Tensor stats = context.statistics("norm stats", 2);
        this.norm = new LayerNormOp(
                sum == null ? null : sum.forward(),
                x.value(),
                weight.value(),
                bias.value(),
                out.value(),
                stats,
                out.rounded());
        this.normGrad = x.grad() == null
                ? null
                : new LayerNormGradOp(
                        norm, out.grad(), x.grad(), weight.grad(), bias.grad(), sum == null ? null : sum.backward());
    }

    /** Adds a norm that is never applied to the state_dict, with its initial values. */
    public static void declareUnused(LayerContext context, String name, int width) {
        context.parameters().addConstant(name + ".weight", Shape.of(width), () -> {
            float[] ones = new float[width];
            Arrays.fill(ones, 1f);
            return ones;
        });
        context.parameters().addConstant(name + ".bias", Shape.of(width), () -> new float[width]);
    }

    public void forward(Operations ops, Pass pass) {
        ops.layerNorm(norm, pass);
    }

    public void backward(Operations ops, Pass pass) {
        ops.layerNormGrad(normGrad, pass);
    }
}
