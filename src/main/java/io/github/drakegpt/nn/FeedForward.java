package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.tensor.Tensor;

/** The MLP of a block: Linear(C, 4C), ReLU, Linear(4C, C). */
final class FeedForward {
    private static final int EXPANSION = 4;

    private final Backend backend;
    private final int hiddenSize;
    private final Linear expand;
    private final Linear contract;
    private final Tensor hidden; // (rows, 4C)
    private final Tensor dhidden; // (rows, 4C)

    FeedForward(LayerContext context, String name, int width, int layers) {
        this.backend = context.backend();
        this.hiddenSize = EXPANSION * width;
        this.expand = new Linear(context, name + ".net.0", width, hiddenSize);
        this.contract = Linear.residual(context, name + ".net.2", hiddenSize, width, layers);
        this.hidden = context.activation(hiddenSize);
        this.dhidden = context.training() ? context.scratch("dhidden", hiddenSize) : null;
    }

    /** Writes y (rows, C) from x (rows, C). */
    void forward(Tensor x, Tensor y, int rows) {
        expand.forwardRelu(x, hidden, rows);
        contract.forward(hidden, y, rows);
    }

    /** Writes dx (rows, C) and the parameters' gradients from dy (rows, C); dx may be dy. */
    void backward(Tensor x, Tensor dy, Tensor dx, int rows) {
        contract.backward(hidden, dy, dhidden, rows);
        backend.reluGrad(hidden, dhidden, rows * hiddenSize);
        expand.backward(x, dhidden, dx, rows);
    }
}
