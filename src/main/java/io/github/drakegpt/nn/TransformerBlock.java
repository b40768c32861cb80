package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Dropout;
import io.github.drakegpt.tensor.Tensor;

/**
 * The block of a pre-norm transformer: x = x + dropout(proj(attention(ln1(x)))), then x = x + dropout(mlp(ln2(x))).
 *
 * <p>A residual sum and the norm that reads it are one operation, so a block ends with the norm of what follows it: the
 * next block's {@code ln1}, or the model's final norm.
 */
public final class TransformerBlock {
    private final Backend backend;
    private final int width;
    private final CausalSelfAttention attention;
    private final RmsNorm subNorm; // or null
    private final Linear projection;
    private final FeedForward feedForward;
    private final LayerNorm ln1;
    private final LayerNorm ln2;
    private final Dropout attentionDropout;
    private final Dropout feedForwardDropout;
    private final Tensor branch; // (rows, C)
    private final Tensor middle; // (rows, C)
    private final Tensor out; // (rows, C)
    private final Tensor dheads; // (rows, C)
    private final Tensor dprojected; // (rows, C), or null
    private Tensor heads;

    /** @param subNorm whether there is an RMS norm before each of the layers that end a residual branch */
    public TransformerBlock(
            LayerContext context, String name, int width, int heads, int layers, float dropout, boolean subNorm) {
        this.backend = context.backend();
        this.width = width;
        this.attention =
                CausalSelfAttention.multiHead(context, name + ".sa_head", width, heads, width / heads, dropout);
        this.subNorm = subNorm ? new RmsNorm(context, name + ".sa_head.sub_norm", width) : null;
        this.projection = Linear.residual(context, name + ".sa_head.proj", width, width, layers);
        this.feedForward = new FeedForward(context, name + ".ffwd", width, layers, subNorm);
        this.ln1 = LayerNorm.beforeQuantizable(context, name + ".ln1", width);
        this.ln2 = LayerNorm.beforeQuantizable(context, name + ".ln2", width);
        this.attentionDropout = context.dropout(dropout);
        this.feedForwardDropout = context.dropout(dropout);
        this.branch = context.scratch("branch", width);
        this.middle = context.activation("middle", width);
        this.out = context.activation("block", width);
        this.dheads = context.training() ? context.scratch("dheads", width) : null;
        this.dprojected = context.training() && subNorm ? context.scratch("dprojected", width) : null;
    }

    /** The norm at the block's beginning, which whatever comes before the block applies. */
    public LayerNorm firstNorm() {
        return ln1;
    }

    /**
     * The block's output (rows, C) for x (rows, C), of which {@link #firstNorm} already holds the norm.
     *
     * @param next the norm to apply to the output, or null
     */
    public Tensor forward(Tensor x, LayerNorm next, Pass pass) {
        int rows = pass.rows();
        heads = attention.forward(ln1.normed(), pass);
        Rows projected = subNorm == null ? Rows.of(heads) : subNorm.forward(heads, rows);
        Tensor bias = projection.forwardBranch(projected, branch, rows);
        ln2.forward(x, branch, bias, pass.training() ? attentionDropout : null, middle, pass);
        bias = feedForward.forward(ln2.normed(), branch, rows);
        Dropout dropout = pass.training() ? feedForwardDropout : null;
        if (next == null) {
            backend.residual(middle, branch, bias, dropout, pass.firstRow(), out, rows, width);
        } else {
            next.forward(middle, branch, bias, dropout, out, pass);
        }
        return out;
    }

    /**
     * Writes the parameters' gradients, that of {@code next} too.
     *
     * @param next the norm that was applied to the output, or null
     * @param grad (rows, C): what came back around that norm; becomes what goes back around {@link #firstNorm}
     * @param dnormed (rows, C): the gradient of that norm's output; becomes that of {@link #firstNorm}'s
     */
    public void backward(LayerNorm next, Tensor grad, Tensor dnormed, Pass pass) {
        int rows = pass.rows();
        Dropout dropout = pass.training() ? feedForwardDropout : null;
        if (next == null) {
            backend.residualGrad(grad, dropout, pass.firstRow(), dnormed, feedForward.biasGrad(), rows, width);
        } else {
            next.backward(out, dnormed, grad, dropout, dnormed, feedForward.biasGrad(), pass);
        }
        feedForward.backward(dnormed, dnormed, rows);
        dropout = pass.training() ? attentionDropout : null;
        ln2.backward(middle, dnormed, grad, dropout, dnormed, projection.biasGrad(), pass);
        if (subNorm == null) {
            projection.backwardWithoutBias(dnormed, dheads, rows);
        } else {
            projection.backwardWithoutBias(dnormed, dprojected, rows);
            subNorm.backward(heads, dprojected, dheads, rows);
        }
        attention.backward(dheads, dnormed, pass);
    }
}
