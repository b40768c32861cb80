package io.github.drakegpt.nn;

import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.List;

/**
 * The product of a linear layer, y = x weight^T, with its weight: in floating point, or in a quantized model that is not trained
 * with packed weights.
 */
abstract class Product {
    /**
     * @param quantization of this layer
     * @param name of the weight where it is packed
     * @param parts the weights that it consists of in PyTorch's state_dict, stacked along the first dimension; each has a
     *     scale of its own
     * @param each the shape of a part
     */
    static Product create(
            LayerContext context,
            Quantization quantization,
            String name,
            List<String> parts,
            Shape each,
            Init.Distribution init) {
        int out = each.dim(0) * parts.size();
        int in = each.dim(1);
        return quantization == Quantization.NONE || context.training()
                ? new FloatProduct(
                        context,
                        quantization,
                        context.parameters().addMerged(parts, each, init, Shape.of(out, in)),
                        out,
                        in,
                        parts.size())
                : new PackedProduct(context, context.packedWeights(quantization, name, parts, each));
    }

    /** y (rows, out) = x weight^T + bias, then ReLU if asked; bias (out) or null. */
    abstract void forward(Rows x, Tensor bias, boolean relu, Tensor y, int rows);

    /** Whether the product comes with its bias, where others add it in another pass over y. */
    abstract boolean addsBiasForNothing();

    /** Writes dx (rows, in), the weight's gradient and dbias (out), or null, from dy (rows, out). */
    abstract void backward(Tensor dy, Tensor dx, Tensor dbias, int rows);
}
