package io.github.drakegpt.ops;

/**
 * What one pass through a model covers: {@code batch} sequences of {@code length} tokens.
 *
 * @param firstSequence place of the first sequence in the whole batch, so that a part of a batch draws the dropout masks
 *     that the whole batch would
 * @param training whether dropout is on
 * @param cached whether the tokens stand at the model's position, and attention keeps their keys and values for later
 *     ones and sees those of earlier ones; otherwise they stand at 0, 1, ...
 */
public record Pass(int batch, int length, long firstSequence, boolean training, boolean cached) {
    /** A pass that will be followed by its backward pass. */
    public static Pass training(int batch, int length, long firstSequence) {
        return new Pass(batch, length, firstSequence, true, false);
    }

    /** A pass that only computes logits. */
    public static Pass evaluation(int batch, int length) {
        return new Pass(batch, length, 0, false, false);
    }

    /** A pass over {@code length} new tokens at the model's position, after those that the cache already holds. */
    public static Pass generation(int batch, int length) {
        return new Pass(batch, length, 0, false, true);
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
