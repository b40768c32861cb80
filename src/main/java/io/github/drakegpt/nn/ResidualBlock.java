package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.tensor.Tensor;

/** x = x + proj(attention(x)), then x = x + mlp(x): residual connections (He et al., 2016) around both. */
public final class ResidualBlock {
    private final Backend backend;
    private final int width;
    private final CausalSelfAttention attention;
    private final Linear projection;
    private final FeedForward feedForward;
    private final Tensor branch; // (rows, C)
    private final Tensor middle; // (rows, C)
    private final Tensor out; // (rows, C)
    private final Tensor dheads; // (rows, C)
    private Tensor in;
    private Tensor heads;

    public ResidualBlock(LayerContext context, String name, int width, int heads, int layers) {
        this.backend = context.backend();
        this.width = width;
        this.attention = CausalSelfAttention.multiHead(context, name + ".sa_head", width, heads, width / heads, 0);
        this.projection = Linear.residual(context, name + ".sa_head.proj", width, width, layers);
        this.feedForward = new FeedForward(context, name + ".ffwd", width, layers, false);
        this.branch = context.scratch("branch", width);
        this.middle = context.activation("middle", width);
        this.out = context.activation("block", width);
        this.dheads = context.training() ? context.scratch("dheads", width) : null;
    }

    /** The block's output (rows, C) for x (rows, C). */
    public Tensor forward(Tensor x, Pass pass) {
        int rows = pass.rows();
        in = x;
        heads = attention.forward(x, pass);
        Tensor bias = projection.forwardBranch(Rows.of(heads), branch, rows);
        backend.residual(x, branch, bias, null, 0, middle, rows, width);
        bias = feedForward.forward(Rows.of(middle), branch, rows);
        backend.residual(middle, branch, bias, null, 0, out, rows, width);
        return out;
    }

    /** Replaces the gradient of the output by that of the input, (rows, C). */
    public void backward(Tensor grad, Pass pass) {
        int rows = pass.rows();
        backend.residualGrad(grad, null, 0, branch, feedForward.biasGrad(), rows, width);
        feedForward.backward(branch, branch, rows);
        backend.residual(grad, branch, null, null, 0, grad, rows, width);
        backend.residualGrad(grad, null, 0, branch, projection.biasGrad(), rows, width);
        projection.backwardWithoutBias(branch, dheads, rows);
        attention.backward(dheads, branch, pass);
        backend.residual(grad, branch, null, null, 0, grad, rows, width);
    }
}
