package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.tensor.Tensor;

/** Attention, then a linear layer with ReLU, one after the other: what goes in does not go around them. */
public final class Block {
    private final Backend backend;
    private final int width;
    private final CausalSelfAttention attention;
    private final Linear linear;
    private final Tensor out; // (rows, C)
    private final Tensor dheads; // (rows, C)
    private Tensor in;
    private Tensor heads;

    public Block(LayerContext context, String name, int width, int heads) {
        this.backend = context.backend();
        this.width = width;
        this.attention = CausalSelfAttention.multiHead(context, name + ".sa_head", width, heads, width / heads, 0);
        this.linear = new Linear(context, name + ".ffwd.net.0", width, width);
        this.out = context.activation("block", width);
        this.dheads = context.training() ? context.scratch("dheads", width) : null;
    }

    /** The block's output (rows, C) for x (rows, C). */
    public Tensor forward(Tensor x, Pass pass) {
        in = x;
        heads = attention.forward(x, pass);
        linear.forwardRelu(Rows.of(heads), out, pass.rows());
        return out;
    }

    /** Replaces the gradient of the output by that of the input, (rows, C). */
    public void backward(Tensor grad, Pass pass) {
        backend.reluGrad(out, grad, linear.biasGrad(), pass.rows(), width);
        linear.backwardWithoutBias(grad, dheads, pass.rows());
        attention.backward(dheads, grad, pass);
    }
}
