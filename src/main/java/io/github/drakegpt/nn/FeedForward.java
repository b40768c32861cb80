package io.github.drakegpt.nn;

import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;

/** The MLP of a block: Linear(C, 4C), ReLU, Linear(4C, C); optionally with an RMS norm before the latter. */
final class FeedForward {
    private static final int EXPANSION = 4;

    private final Linear expand;
    private final RmsNorm subNorm; // or null
    private final Linear contract;

    FeedForward(LayerContext context, String name, int layers, boolean subNorm, Activation x, Activation y) {
        int hiddenSize = EXPANSION * x.value().shape().columns();
        Activation hidden = // (rows, 4C)
                new Activation(context.activation("hidden", hiddenSize), context.gradient("dhidden", hiddenSize));
        this.expand = Linear.quantizableRelu(context, name + ".net.0", x, hidden);
        this.subNorm = subNorm
                ? new RmsNorm(context, name + ".sub_norm", hidden, context.gradient("dnormed", hiddenSize))
                : null;
        this.contract = Linear.branch(context, name + ".net.2", layers, subNorm ? this.subNorm.out() : hidden, y);
    }

    /** Like {@link Linear#residual}. */
    ResidualSum residual(Activation stream, Dropout dropout, Activation sum) {
        return contract.residual(stream, dropout, sum);
    }

    void forward(Operations ops, Pass pass) {
        expand.forward(ops, pass);
        if (subNorm != null) {
            subNorm.forward(ops, pass);
        }
        contract.forward(ops, pass);
    }

    void backward(Operations ops, Pass pass) {
        contract.backward(ops, pass);
        if (subNorm != null) {
            subNorm.backward(ops, pass);
        }
        expand.backward(ops, pass);
    }
}
