package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Causal self-attention (Vaswani et al., 2017) with scale S^-0.5 and dropout on the attention weights. No (T, T) matrix is
 * stored (Dao et al., "FlashAttention", 2022). A value that is NaN or infinite may reach rows before it, times their
 * weights of 0. Where qkv is BF16, weights are rounded too before they multiply values.
 *
 * <p>Element (b, h, i, j) of the weights has number (((first sequence of the pass + b) * H + h) * T + i) * T + j of the
 * mask.
 *
 * @param qkv (B, T, 3A): in each row the queries of all heads, then the keys, then the values
 * @param out (B, T, A)
 * @param stats (B, H, T, 2), F32: each softmax's maximum and inverse denominator, for the gradient
 * @param dropout of passes that {@linkplain Pass#training train}, or null
 * @param heads H, of size S = A / H
 */
public record AttentionOp(Tensor qkv, Tensor out, Tensor stats, Dropout dropout, int heads) implements Operation {
    /** Checks the operands. */
    public AttentionOp {
        operands(qkv, out, stats, dropout, heads).check();
        requireHeads("attention", out, heads);
    }

    @Override
    public Operands operands() {
        return operands(qkv, out, stats, dropout, heads);
    }

    private static Operands operands(Tensor qkv, Tensor out, Tensor stats, Dropout dropout, int heads) {
        return new Operands("attention")
                .read("qkv", qkv, "rows", "3a")
                .write("out", out, "rows", "a")
                .writeF32("stats", stats, "rows", 2 * heads + "")
                .dropout(dropout);
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.attention(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, qkv);
    }

    /** S. */
    public int headSize() {
        return out.shape().columns() / heads;
    }

    static void requireHeads(String operation, Tensor out, int heads) {
        int width = out.shape().columns();
        if (heads < 1 || width % heads != 0) {
            throw new IllegalArgumentException(operation + ": out is " + out.shape() + ", and " + width
                    + " channels are not " + heads + " heads of one size; choose a number of heads that divides them.");
        }
    }
}
