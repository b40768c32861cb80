package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Attention of new tokens, from a position on, to themselves and to all earlier ones. First writes their keys and
 * values into the cache.
 *
 * @param qkv (B, t, 3A), as {@link AttentionOp}
 * @param cache (B, context, 2A), of the type of qkv: in each row the keys of all heads, then the values
 * @param position I32 (1)
 * @param out (B, t, A)
 * @param heads H, of size S = A / H
 */
public record AttentionCachedOp(Tensor qkv, Tensor cache, Tensor position, Tensor out, int heads) implements Operation {
    /** Checks the operands. */
    public AttentionCachedOp {
        operands(qkv, cache, position, out, heads).check();
        AttentionOp.requireHeads("attentionCached", out, heads);
    }

    @Override
    public Operands operands() {
        return operands(qkv, cache, position, out, heads);
    }

    private static Operands operands(Tensor qkv, Tensor cache, Tensor position, Tensor out, int heads) {
        return new Operands("attentionCached")
                .read("qkv", qkv, "rows", "3a")
                .update("cache", cache, "batch", "context", "2a")
                .readI32("position", position, "1")
                .write("out", out, "rows", "a");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.attentionCached(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, qkv);
    }

    /** The most tokens of a sequence in the cache. */
    public int context() {
        return cache.shape().dim(1);
    }

    /** S. */
    public int headSize() {
        return out.shape().columns() / heads;
    }

    /** Reads the whole cache and writes a row of each sequence. */
    @Override
    public long bytes(Pass pass) {
        long each = (long) cache.shape().columns() * cache.dtype().bytes();
        return Operation.super.bytes(pass) - pass.batch() * (long) context() * each + pass.rows() * each;
    }
}
