package io.github.drakegpt.backend;

import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * What the processes that train one model together tell each other. All of them make the same calls in the same order,
 * each with as many values; a call returns when all have made it.
 *
 * <p>One thread at a time calls it, except {@link #abort}.
 */
public interface Collective extends AutoCloseable {
    /** Which of the processes this is. */
    Rank rank();

    /** The machine that a rank runs on. */
    String host(int number);

    /**
     * Elements of x = the sums of all ranks' elements, in an order that depends on the number of ranks only, so that they
     * are the same to the bit in all of them. {@link Backend#allReduce} does the same with tensors.
     */
    void allReduce(float[] x, int offset, int n);

    /** What each of the ranks gives, in their order. */
    List<byte[]> gather(byte[] mine);

    /** The same with texts. */
    default List<String> gather(String mine) {
        return gather(mine.getBytes(StandardCharsets.UTF_8)).stream()
                .map(bytes -> new String(bytes, StandardCharsets.UTF_8))
                .toList();
    }

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
        public String host(int number) {
            return "this machine";
        }

        @Override
        public void allReduce(float[] x, int offset, int n) {}

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
