package io.github.drakegpt.ops;

/**
 * One pass through a model: {@code batch} sequences of {@code length} tokens.
 *
 * @param firstSequence index of the first sequence in the whole batch, so that a part of a batch draws the same dropout
 *     masks as the whole
 * @param training whether dropout is on
 * @param cached whether the tokens begin at the model's position, and attention caches their keys and values and sees
 *     those of earlier tokens; otherwise their positions are 0, 1, ...
 */
public record Pass(int batch, int length, long firstSequence, boolean training, boolean cached) {
    /** A pass that is followed by its backward pass. */
    public static Pass training(int batch, int length, long firstSequence) {
        return new Pass(batch, length, firstSequence, true, false);
    }

    /** A pass that only computes logits. */
    public static Pass evaluation(int batch, int length) {
        return new Pass(batch, length, 0, false, false);
    }

    /** A pass over {@code length} new tokens at the model's position, after those in the cache. */
    public static Pass generation(int batch, int length) {
        return new Pass(batch, length, 0, false, true);
    }

    /** Tokens in the pass: rows of the activations. */
    public int rows() {
        return batch * length;
    }

    /** Index of the first token's row in the whole batch. */
    public long firstRow() {
        return firstSequence * length;
    }
}
