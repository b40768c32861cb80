package io.github.drakegpt.nn;

import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;

/** Attention, then a linear layer with ReLU, without residual connections. */
public final class Block {
    private final CausalSelfAttention attention;
    private final Linear linear;
    private final Activation out; // (rows, C)

    /** @param x (rows, C); the output shares its grad, which the backward pass overwrites in place */
    public Block(LayerContext context, String name, Activation x, int heads) {
        int width = x.value().shape().columns();
        this.attention = CausalSelfAttention.multiHead(context, name + ".sa_head", x, heads, width / heads, 0);
        this.out = new Activation(context.activation("block", width), x.grad());
        this.linear = Linear.relu(context, name + ".ffwd.net.0", attention.out(), out);
    }

    /** The block's output, (rows, C). */
    public Activation out() {
        return out;
    }

    /** Writes {@link #out} from x. */
    public void forward(Operations ops, Pass pass) {
        attention.forward(ops, pass);
        linear.forward(ops, pass);
    }

    /** Replaces the gradient of the output with that of the input. */
    public void backward(Operations ops, Pass pass) {
        linear.backward(ops, pass);
        attention.backward(ops, pass);
    }
}
