package io.github.drakegpt.nn;

import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.List;

/**
 * The weight of a linear layer and its product y = x weight^T: in floating point, or packed in a quantized model that is
 * not trained.
 */
abstract class LinearWeight {
    /**
     * The names of a weight.
     *
     * @param packed its name where it is packed
     * @param parts the weights that it consists of in PyTorch's state_dict, stacked along the first dimension; each has a
     *     scale of its own
     */
    record Names(String packed, List<String> parts) {
        static Names of(String name) {
            return new Names(name, List.of(name));
        }
    }

    /**
     * Operands of the product.
     *
     * @param x read by the layer; its grad is written in the backward pass
     * @param bias (out), added to the product; or null
     * @param relu whether a ReLU follows
     * @param y written by the layer; its grad is read in the backward pass, after that of the ReLU
     * @param biasGrad (out), or null if the gradient of the bias is written elsewhere
     */
    record Wiring(Activation x, Parameter bias, boolean relu, Activation y, Tensor biasGrad) {}

    /**
     * Adds the weight to the parameters.
     *
     * @param quantization of this layer
     * @param each the shape of a part
     */
    static LinearWeight add(
            LayerContext context, Quantization quantization, Names names, Shape each, Init.Distribution init) {
        int out = each.dim(0) * names.parts().size();
        return quantization == Quantization.NONE || context.training()
                ? new FloatLinearWeight(
                        context,
                        quantization,
                        context.parameters().addMerged(names.parts(), each, init, Shape.of(out, each.dim(1))),
                        names.parts().size())
                : new PackedLinearWeight(
                        context, context.packedWeights(quantization, names.packed(), names.parts(), each));
    }

    /** Whether the product adds its bias in the same kernel; others need another pass over y. */
    abstract boolean fusesBias();

    /** Makes the operations of the layer. */
    abstract void wire(Wiring wiring);

    abstract void forward(Operations ops, Pass pass);

    /** Writes the gradients of x and of the weight. */
    abstract void backward(Operations ops, Pass pass);
}
