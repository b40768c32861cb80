package io.github.drakegpt.nn;

import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;

/**
 * What goes from block to block of a pre-norm transformer: a residual sum that the norm which reads it computes with it, in
 * one operation.
 */
public final class ResidualStream {
    private final Activation value; // (rows, C)
    private final ResidualSum pending; // or null

    ResidualStream(Activation value, ResidualSum pending) {
        this.value = value;
        this.pending = pending;
    }

    /** The stream's beginning: embeddings, of which nothing is left to add. */
    public static ResidualStream of(Activation embedded) {
        return new ResidualStream(embedded, null);
    }

    /** The stream's value, (rows, C), once it is computed: by {@link #normed}'s norm, or by {@link #forward}. */
    public Activation value() {
        return value;
    }

    /** The norm of the stream, which computes the sum too. */
    public LayerNorm normed(LayerContext context, String name, Activation out) {
        return new LayerNorm(context, name, value, pending, out);
    }

    /** Computes the sum, where no norm reads it. */
    public void forward(Operations ops, Pass pass) {
        ops.residual(pending.forward(), pass);
    }

    /** Writes the gradients of the branch and its bias from that of the sum, where no norm reads it. */
    public void backward(Operations ops, Pass pass) {
        ops.residualGrad(pending.backward(), pass);
    }
}
