package io.github.drakegpt.data;

import io.github.drakegpt.ops.GatherBatchOp;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;

/** Draws batches from one split of a corpus, on the device. */
public final class BatchSampler {
    private final Tensor corpus; // (N)
    private final RandomStream stream;

    /**
     * Copies a split to the device.
     *
     * @param split its name, for messages
     * @param vocabSize of the model, whose tokens these are
     * @param contextLength of the sequences that will be drawn
     * @throws IllegalArgumentException if the split is too short for even one, or has a token that the model does not know
     */
    public BatchSampler(
            Arena arena, String split, char[] tokens, int vocabSize, int contextLength, RandomStream stream) {
        if (tokens.length <= contextLength) {
            throw new IllegalArgumentException("The " + split + " split has " + tokens.length
                    + " characters, too few for a context of " + contextLength
                    + "; use a longer text or a smaller model.context_length.");
        }
        for (char token : tokens) {
            if (token >= vocabSize) {
                throw new IllegalArgumentException("The " + split + " split has token " + (int) token
                        + ", and the model a vocabulary of " + vocabSize
                        + "; give model.vocab_size the size of the corpus's vocabulary.");
            }
        }
        this.stream = stream;
        this.corpus = arena.allocate(DType.U16, Shape.of(tokens.length));
        corpus.write(tokens);
    }

    private BatchSampler(Tensor corpus, RandomStream stream) {
        this.corpus = corpus;
        this.stream = stream;
    }

    /** A sampler that draws other batches from the same split on the device. */
    public BatchSampler with(RandomStream otherStream) {
        return new BatchSampler(corpus, otherStream);
    }

    /**
     * An operation that draws the sequences of a pass at the stream's current step.
     *
     * @param x I32 (B, T): receives the sequences
     * @param y I32 (B, T): receives the token that follows each
     */
    public GatherBatchOp into(Tensor x, Tensor y) {
        return new GatherBatchOp(corpus, stream, x, y);
    }
}
