package io.github.drakegpt.nn;

/**
 * What one pass through a model covers: {@code batch} sequences of {@code length} tokens.
 *
 * @param firstSequence place of the first sequence in the whole batch, so that a part of a batch draws the dropout masks
 *     that the whole batch would
 * @param training whether dropout is on
 * @param position place of the first token in its sequence; above 0 only with a cache
 * @param cached whether attention keeps keys and values for later tokens, and sees those of earlier ones
 */
public record Pass(int batch, int length, long firstSequence, boolean training, int position, boolean cached) {
    /** A pass that will be followed by its backward pass. */
    public static Pass training(int batch, int length, long firstSequence) {
        return new Pass(batch, length, firstSequence, true, 0, false);
    }

    /** A pass that only computes logits. */
    public static Pass evaluation(int batch, int length) {
        return new Pass(batch, length, 0, false, 0, false);
    }

    /** A pass over {@code length} new tokens at {@code position}, after those that the cache already holds. */
    public static Pass generation(int batch, int length, int position) {
        return new Pass(batch, length, 0, false, position, true);
    }

    /** Tokens in the pass: rows of the activations. */
    public int rows() {
        return batch * length;
    }

    /** Place of the first token's row in the whole batch. */
    public long firstRow() {
        return firstSequence * length;
    }
}
