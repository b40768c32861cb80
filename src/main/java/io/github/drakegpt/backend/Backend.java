package io.github.drakegpt.backend;

import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.tensor.Arena;
import java.util.function.Consumer;
import java.util.function.IntConsumer;

/**
 * A device: the {@linkplain Operations operations} that models are made of, memory for their tensors, ways to run many of
 * them at once, and what they are measured with. A backend whose {@link #precision} is BF16 takes activations and the
 * weights of matrix products in BF16, others in F32.
 */
public interface Backend extends Operations, Measuring, AutoCloseable {
    /** The name that selects it: {@code cpu}. */
    String name();

    /** One line for people: processor or GPU, threads, libraries. */
    String description();

    /** What its models compute in. */
    Precision precision();

    /** A place for the memory of one model. */
    Arena newArena();

    // ---------------------------------------------------------------------------------------------- running

    /**
     * Into how many parts, computed each on its own, a batch is best split. The gradient is the sum of the parts' and so
     * depends on this number, which therefore must not depend on the number of workers.
     */
    int shards(int batch, int length);

    /** How many tasks {@link #parallel} runs at the same time. */
    int workers();

    /** Runs {@code task} for 0 to {@code tasks} - 1, side by side where the device can, and returns when all are done. */
    void parallel(int tasks, IntConsumer task);

    /**
     * Prepares operations that will be repeated with the same arguments: each run of the returned object does what
     * {@code work} does. A GPU captures it as a graph, so {@code work} must neither read nor write tensors from the host;
     * others run {@code work} itself.
     *
     * @param arena whose tensors the operations use: what is captured is given back with it
     */
    default Runnable record(Arena arena, Runnable work) {
        return work;
    }

    /**
     * Prepares operations that each sequence of a pass goes through alone, and that are repeated: drawing the batch, the
     * forward pass, the loss, the backward pass. No operation of them reads what is a sum over the sequences, as a loss or a
     * parameter's gradient is, except for {@code gradNorm} and {@code adamW}, which may end them. A GPU does those of a small
     * model with few launches; others run them as they are.
     *
     * @param arena closing it frees what is made for the region
     * @param work calls the operations that it is given, the same ones each time
     */
    default Runnable region(Arena arena, Consumer<Operations> work) {
        return () -> work.accept(this);
    }

    /** Whether an operation is done when it returns; elsewhere, who reads a value waits for what was called before. */
    default boolean isSynchronous() {
        return true;
    }

    /**
     * How many of {@code times} repetitions of the same work are best recorded together: as many as make what it costs to
     * start them small beside what they take, and so few that they take no longer than milliseconds. 1 where an operation
     * is done when it returns, so that there is nothing to gain.
     *
     * @param times at least 1
     * @param flops floating-point operations of the work, about
     */
    default int repetitionsPerLaunch(int times, double flops) {
        return 1;
    }

    /** Gives back what the backend has; its arenas must have been closed. */
    @Override
    void close();
}
