package io.github.drakegpt.nn;

import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.ResidualOp;

/** x = x + proj(attention(x)), then x = x + mlp(x): residual connections (He et al., 2016) around both. */
public final class ResidualBlock {
    private final CausalSelfAttention attention;
    private final Linear projection;
    private final FeedForward feedForward;
    private final ResidualSum middle;
    private final ResidualSum end;
    private final ResidualOp addBranchGrad; // or null
    private final Activation out; // (rows, C)

    /** @param x (rows, C), whose grad is that of the residual stream */
    public ResidualBlock(LayerContext context, String name, Activation x, int heads, int layers) {
        int width = x.value().shape().columns();
        // one buffer for the outputs of branches; in the backward pass for the gradients of their inputs and outputs
        Activation branch = new Activation(context.scratch("branch", width), context.gradient("branch", width));
        Activation sum = new Activation(context.activation("middle", width), x.grad());
        this.attention = CausalSelfAttention.multiHead(
                context, name + ".sa_head", new Activation(x.value(), branch.grad()), heads, width / heads, 0);
        this.projection = Linear.branch(context, name + ".sa_head.proj", layers, attention.out(), branch);
        this.feedForward = new FeedForward(
                context, name + ".ffwd", layers, false, new Activation(sum.value(), branch.grad()), branch);
        this.out = new Activation(context.activation("block", width), x.grad());
        this.middle = projection.residual(x, null, sum);
        this.end = feedForward.residual(sum, null, out);
        this.addBranchGrad = context.training() ? new ResidualOp(x.grad(), branch.grad(), null, null, x.grad()) : null;
    }

    /** The block's output, (rows, C). */
    public Activation out() {
        return out;
    }

    /** Writes {@link #out} from x. */
    public void forward(Operations ops, Pass pass) {
        attention.forward(ops, pass);
        projection.forward(ops, pass);
        ops.residual(middle.forward(), pass);
        feedForward.forward(ops, pass);
        ops.residual(end.forward(), pass);
    }

    /** Replaces the gradient of the output by that of the input. */
    public void backward(Operations ops, Pass pass) {
        ops.residualGrad(end.backward(), pass);
        feedForward.backward(ops, pass);
        ops.residual(addBranchGrad, pass);
        ops.residualGrad(middle.backward(), pass);
        projection.backward(ops, pass);
        attention.backward(ops, pass);
        ops.residual(addBranchGrad, pass);
    }
}
