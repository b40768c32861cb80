package io.github.drakegpt.nn;

import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.Pass;

/** The MLP of a block: Linear(C, 4C), ReLU, Linear(4C, C); if asked with an RMS norm before the latter. */
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

    /** As {@link Linear#residual}. */
    ResidualSum residual(Activation stream, Dropout dropout, Activation sum) {
        return contract.residual(stream, dropout, sum);
    }

    void forward(Pass pass) {
        expand.forward(pass);
        if (subNorm != null) {
            subNorm.forward(pass);
        }
        contract.forward(pass);
    }

    void backward(Pass pass) {
        contract.backward(pass);
        if (subNorm != null) {
            subNorm.backward(pass);
        }
        expand.backward(pass);
    }
}
