package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.tensor.Tensor;

/** The MLP of a block: Linear(C, 4C), ReLU, Linear(4C, C); if asked with an RMS norm before the latter. */
final class FeedForward {
    private static final int EXPANSION = 4;

    private final Backend backend;
    private final int hiddenSize;
    private final Linear expand;
    private final RmsNorm subNorm; // or null
    private final Linear contract;
    private final Tensor hidden; // (rows, 4C)
    private final Tensor dhidden; // (rows, 4C)
    private final Tensor dnormed; // (rows, 4C), or null

    FeedForward(LayerContext context, String name, int width, int layers, boolean subNorm) {
        this.backend = context.backend();
        this.hiddenSize = EXPANSION * width;
        this.expand = Linear.quantizable(context, name + ".net.0", width, hiddenSize);
        this.subNorm = subNorm ? new RmsNorm(context, name + ".sub_norm", hiddenSize) : null;
        this.contract = Linear.residual(context, name + ".net.2", hiddenSize, width, layers);
        this.hidden = context.activation("hidden", hiddenSize);
        this.dhidden = context.training() ? context.scratch("dhidden", hiddenSize) : null;
        this.dnormed = context.training() && subNorm ? context.scratch("dnormed", hiddenSize) : null;
    }

    /** Writes y (rows, C) from x (rows, C), and answers the bias that the residual sum adds to it; or null. */
    Tensor forward(Rows x, Tensor y, int rows) {
        expand.forwardRelu(x, hidden, rows);
        return contract.forwardBranch(subNorm == null ? Rows.of(hidden) : subNorm.forward(hidden, rows), y, rows);
    }

    /** The gradient of that bias. */
    Tensor biasGrad() {
        return contract.biasGrad();
    }

    /** Writes dx (rows, C) and the parameters' gradients but {@link #biasGrad} from dy (rows, C); dx may be dy. */
    void backward(Tensor dy, Tensor dx, int rows) {
        if (subNorm == null) {
            contract.backwardWithoutBias(dy, dhidden, rows);
        } else {
            contract.backwardWithoutBias(dy, dnormed, rows);
            subNorm.backward(hidden, dnormed, dhidden, rows);
        }
        backend.reluGrad(hidden, dhidden, expand.biasGrad(), rows, hiddenSize);
        expand.backwardWithoutBias(dhidden, dx, rows);
    }
}
