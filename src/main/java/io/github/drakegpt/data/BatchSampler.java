package io.github.drakegpt.data;

import io.github.drakegpt.backend.Arena;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;

/** Draws batches from one split of a corpus, on the device. */
public final class BatchSampler {
    private final Backend backend;
    private final Tensor corpus; // (N)
    private final RandomStream stream;

    /**
     * Copies a split to the device.
     *
     * @param split its name, for messages
     * @param contextLength of the sequences that will be drawn
     * @throws IllegalArgumentException if the split is too short for even one
     */
    public BatchSampler(
            Backend backend, Arena arena, String split, char[] tokens, int contextLength, RandomStream stream) {
        if (tokens.length <= contextLength) {
            throw new IllegalArgumentException("The " + split + " split has " + tokens.length
                    + " characters, too few for a context of " + contextLength
                    + "; use a longer text or a smaller model.context_length.");
        }
        this.backend = backend;
        this.stream = stream;
        this.corpus = arena.allocate(DType.U16, Shape.of(tokens.length));
        corpus.write(tokens);
    }

    private BatchSampler(Backend backend, Tensor corpus, RandomStream stream) {
        this.backend = backend;
        this.corpus = corpus;
        this.stream = stream;
    }

    /** A sampler that draws other batches from the same split on the device. */
    public BatchSampler with(RandomStream otherStream) {
        return new BatchSampler(backend, corpus, otherStream);
    }

    /**
     * Draws sequences {@code first} to {@code first + count - 1} of the stream's present step: x (count, T) and what
     * follows each token, y (count, T).
     */
    public void draw(long first, int count, int length, Tensor x, Tensor y) {
        backend.gatherBatch(corpus, stream, first, x, y, count, length);
    }
}
