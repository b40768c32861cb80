package io.github.drakegpt.nn;

import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;

/**
 * The residual stream between the blocks of a pre-norm transformer. Its last sum is pending: the norm that reads it
 * computes sum and norm in one operation.
 */
public final class ResidualStream {
    private final Activation value; // (rows, C)
    private final ResidualSum pending; // or null

    ResidualStream(Activation value, ResidualSum pending) {
        this.value = value;
        this.pending = pending;
    }

    /** The beginning of the stream: embeddings, with no sum pending. */
    public static ResidualStream of(Activation embedded) {
        return new ResidualStream(embedded, null);
    }

    /** The stream's value, (rows, C), once it is computed: by {@link #normed}'s norm, or by {@link #forward}. */
    public Activation value() {
        return value;
    }

    /** A norm of the stream, which also computes the pending sum. */
    public LayerNorm normed(LayerContext context, String name, Activation out) {
        return new LayerNorm(context, name, value, pending, out);
    }

    /** Computes the pending sum, where no norm does. */
    public void forward(Operations ops, Pass pass) {
        ops.residual(pending.forward(), pass);
    }

    /** Writes the gradients of the branch and its bias from that of the pending sum, where no norm does. */
    public void backward(Operations ops, Pass pass) {
        ops.residualGrad(pending.backward(), pass);
    }
}
