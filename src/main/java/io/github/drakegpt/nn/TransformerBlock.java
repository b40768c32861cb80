package io.github.drakegpt.nn;

import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;

/**
 * The block of a pre-norm transformer: x = x + dropout(proj(attention(ln1(x)))), then x = x + dropout(mlp(ln2(x))).
 *
 * <p>A residual sum and the norm that reads it are one operation. So a block begins by computing the pending sum of the
 * block before it, and leaves its own last sum pending.
 */
public final class TransformerBlock {
    private final LayerNorm ln1;
    private final CausalSelfAttention attention;
    private final RmsNorm subNorm; // or null
    private final Linear projection;
    private final LayerNorm ln2;
    private final FeedForward feedForward;
    private final ResidualStream out;

    /**
     * @param dropout of attention weights and of both branches
     * @param subNorm whether there is an RMS norm before each of the layers that end a residual branch
     */
    public record Form(int heads, int layers, float dropout, boolean subNorm) {}

    public TransformerBlock(LayerContext context, String name, ResidualStream in, Form form) {
        Activation x = in.value();
        int width = x.value().shape().columns();
        // one buffer for the outputs of branches; in the backward pass for the gradients of their inputs and outputs
        Activation branch = new Activation(context.scratch("branch", width), context.gradient("branch", width));
        Activation normed1 = context.beforeQuantizable(context.activation("normed", width), branch.grad());
        this.attention = CausalSelfAttention.multiHead(
                context, name + ".sa_head", normed1, form.heads(), width / form.heads(), form.dropout());
        this.subNorm = form.subNorm()
                ? new RmsNorm(
                        context, name + ".sa_head.sub_norm", attention.out(), context.gradient("dprojected", width))
                : null;
        this.projection = Linear.branch(
                context,
                name + ".sa_head.proj",
                form.layers(),
                subNorm == null ? attention.out() : subNorm.out(),
                branch);
        Activation normed2 = context.beforeQuantizable(context.activation("normed", width), branch.grad());
        this.feedForward = new FeedForward(context, name + ".ffwd", form.layers(), form.subNorm(), normed2, branch);
        this.ln1 = in.normed(context, name + ".ln1", normed1);
        Dropout attentionDropout = context.dropout(form.dropout());
        Dropout feedForwardDropout = context.dropout(form.dropout());
        Activation middle = new Activation(context.activation("middle", width), x.grad());
        this.ln2 = new LayerNorm(
                context, name + ".ln2", middle, projection.residual(x, attentionDropout, middle), normed2);
        Activation end = new Activation(context.activation("block", width), x.grad());
        this.out = new ResidualStream(end, feedForward.residual(middle, feedForwardDropout, end));
    }

    /** The stream after the block. */
    public ResidualStream out() {
        return out;
    }

    /** Computes the block, except the sum that stays pending in {@link #out}. */
    public void forward(Operations ops, Pass pass) {
        ln1.forward(ops, pass);
        attention.forward(ops, pass);
        if (subNorm != null) {
            subNorm.forward(ops, pass);
        }
        projection.forward(ops, pass);
        ln2.forward(ops, pass);
        feedForward.forward(ops, pass);
    }

    /** Replaces the gradient of the stream after the block with that of the stream before it. */
    public void backward(Operations ops, Pass pass) {
        feedForward.backward(ops, pass);
        ln2.backward(ops, pass);
        projection.backward(ops, pass);
        if (subNorm != null) {
            subNorm.backward(ops, pass);
        }
        attention.backward(ops, pass);
        ln1.backward(ops, pass);
    }
}
