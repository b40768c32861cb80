package io.github.drakegpt.backend;

import io.github.drakegpt.tensor.Tensor;
import java.util.List;

/**
 * What the processes that train one model together tell each other. All of them make the same calls in the same order,
 * each with tensors of the same shape; a call returns when all have made it, or, on a GPU, is queued behind the operations
 * before it.
 *
 * <p>One thread at a time calls it, except {@link #abort}.
 */
public interface Collective extends AutoCloseable {
    /** Which of the processes this is. */
    Rank rank();

    /**
     * x = the sum of all ranks' x, in an order that depends on their number only, so that it is the same to the bit in
     * all of them. Can be part of {@linkplain Backend#record recorded} work.
     *
     * @param x (n), F32
     */
    void allReduce(Tensor x);

    /**
     * x = x of rank 0.
     *
     * @param x (n), F32
     */
    void broadcast(Tensor x);

    /** What each of the ranks gives, in their order. */
    List<byte[]> gather(byte[] mine);

    /**
     * Ends all processes, after this one has said why: the caller should have nothing left to do.
     *
     * @param reason a sentence
     */
    void abort(String reason);

    /** Waits for the others to do the same. */
    @Override
    void close();

    /** Of a single process. */
    Collective ALONE = new Collective() {
        @Override
        public Rank rank() {
            return Rank.ALONE;
        }

        @Override
        public void allReduce(Tensor x) {}

        @Override
        public void broadcast(Tensor x) {}

        @Override
        public List<byte[]> gather(byte[] mine) {
            return List.of(mine);
        }

        @Override
        public void abort(String reason) {
            throw new IllegalStateException(reason);
        }

        @Override
        public void close() {}
    };
}
