package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * A stream of {@link Philox} numbers for one purpose, at a step that is read from memory when an operation runs: a
 * recorded training step draws new numbers each time it is replayed.
 *
 * @param seed the run's seed
 * @param purpose one of the constants here; two purposes never share a number
 * @param step I32 tensor (1), the number of the training step or generated token
 */
public record RandomStream(long seed, int purpose, Tensor step) {
    /** Initial weights; index: the element's place in the flat parameter buffer. */
    public static final int INIT = 0;
    /** Offsets of training batches; index: the sequence's place in the batch. */
    public static final int TRAIN_BATCH = 1;
    /** Offsets of the batches that estimate the loss on the training split. */
    public static final int EVAL_TRAIN_BATCH = 2;
    /** Offsets of the batches that estimate the loss on the validation split. */
    public static final int EVAL_VAL_BATCH = 3;
    /** Sampled tokens; index: which of the samples. */
    public static final int SAMPLE = 4;

    private static final int FIRST_DROPOUT = 16;

    /** The purpose of the dropout masks of the {@code site}-th dropout of a model, counted from 0. */
    public static int dropout(int site) {
        return FIRST_DROPOUT + site;
    }
}
