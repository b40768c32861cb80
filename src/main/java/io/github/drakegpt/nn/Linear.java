package io.github.drakegpt.nn;

import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.ReluGradOp;
import io.github.drakegpt.ops.ResidualGradOp;
import io.github.drakegpt.ops.ResidualOp;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;

/**
 * A linear layer: y = x weight^T + bias, optionally with ReLU; in a quantized model x and weight are rounded, bias is
 * not (the papers call it BitLinear).
 */
public final class Linear {
    private final LinearWeight weight;
    private final Parameter bias; // (out)
    private final Activation y;
    private final ReluGradOp reluGrad; // or null

    /** The use of the product. */
    private enum Use {
        /** The product plus bias is the output. */
        PLAIN,
        /** A ReLU follows, whose gradient operation also gives the bias gradient. */
        RELU,
        /** A residual sum follows, which adds the bias and gives its gradient. */
        BRANCH
    }

    private Linear(
            LayerContext context,
            Quantization quantization,
            String name,
            Init.Distribution weightInit,
            Use use,
            Activation x,
            Activation y) {
        this.y = y;
        boolean relu = use == Use.RELU;
        int in = x.value().shape().columns();
        int out = y.value().shape().columns();
        this.weight = LinearWeight.add(
                context, quantization, LinearWeight.Names.of(name + ".weight"), Shape.of(out, in), weightInit);
        this.bias = context.parameters().add(name + ".bias", context.init().bias(in), out);
        boolean addsBias = use != Use.BRANCH || weight.fusesBias();
        weight.wire(new LinearWeight.Wiring(x, addsBias ? bias : null, relu, y, use == Use.PLAIN ? bias.grad() : null));
        this.reluGrad = relu && y.grad() != null ? new ReluGradOp(y.value(), y.grad(), bias.grad()) : null;
    }

    /** A layer that is never quantized. */
    public static Linear plain(LayerContext context, String name, Activation x, Activation y) {
        return new Linear(context, Quantization.NONE, name, weightInit(context, x), Use.PLAIN, x, y);
    }

    /** The same with a ReLU. */
    static Linear relu(LayerContext context, String name, Activation x, Activation y) {
        return new Linear(context, Quantization.NONE, name, weightInit(context, x), Use.RELU, x, y);
    }

    /** A layer with a ReLU that is quantized if the model is. */
    static Linear quantizableRelu(LayerContext context, String name, Activation x, Activation y) {
        return new Linear(context, context.quantization(), name, weightInit(context, x), Use.RELU, x, y);
    }

    /**
     * A layer that ends a branch of the residual stream of {@code layers} blocks, quantized if the model is. The
     * {@linkplain #residual sum} adds the bias, unless the product has done so.
     */
    static Linear branch(LayerContext context, String name, int layers, Activation x, Activation y) {
        Init.Distribution init = context.init().residualWeight(x.value().shape().columns(), layers);
        return new Linear(context, context.quantization(), name, init, Use.BRANCH, x, y);
    }

    private static Init.Distribution weightInit(LayerContext context, Activation x) {
        return context.init().weight(x.value().shape().columns());
    }

    /**
     * The sum of the residual stream and this branch.
     *
     * @param stream to which the branch is added
     * @param dropout of the branch, or null
     * @param sum receives the sum; its grad is that of the stream
     */
    ResidualSum residual(Activation stream, Dropout dropout, Activation sum) {
        Tensor unadded = weight.fusesBias() ? null : bias.value();
        return new ResidualSum(
                new ResidualOp(stream.value(), y.value(), unadded, dropout, sum.value()),
                sum.grad() == null ? null : new ResidualGradOp(sum.grad(), dropout, y.grad(), bias.grad()));
    }

    /** Writes y from x. */
    public void forward(Operations ops, Pass pass) {
        weight.forward(ops, pass);
    }

    /** Writes the gradients of x and of the parameters from that of y. */
    public void backward(Operations ops, Pass pass) {
        if (reluGrad != null) {
            ops.reluGrad(reluGrad, pass);
        }
        weight.backward(ops, pass);
    }
}
