package io.github.drakegpt.backend;

import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.function.Consumer;
import java.util.function.IntConsumer;

/**
 * A device: the {@linkplain Operations operations} that models consist of, memory for their tensors, ways to run many
 * of them at once, and {@linkplain Measuring measurements}.
 *
 * <p>Any thread may call any method at any time, and gets the result that it would get alone, to the bit, if no other
 * one changes the same tensors. A CPU works for several threads at once; a GPU does their calls one after the other,
 * since it has one stream. After {@link #close} all that needs the device throws an {@link IllegalStateException}.
 */
public interface Backend extends Operations, Measuring, AutoCloseable {
    /** The name that selects it: {@code cpu}. */
    String name();

    /** One line for people: processor or GPU, threads, libraries. */
    String description();

    /** Precision of its models. */
    Precision precision();

    /** The type of its models' activations and their gradients, F32 or BF16. */
    default DType activations() {
        return precision().activations();
    }

    /** A new arena, for the memory of one model. */
    Arena newArena();

    /**
     * A tensor in a Java array: nothing is copied.
     *
     * @param array a {@code float[]} for F32, {@code int[]} for I32 or {@code byte[]} for I8, as long as the shape says
     * @throws IllegalArgumentException if it has another length, or the device cannot reach the array
     */
    default Tensor wrap(DType dtype, Object array, Shape shape) {
        throw new IllegalArgumentException("The device " + name()
                + " cannot reach an array of Java; allocate a tensor in an arena and write the values to it.");
    }

    /**
     * x = the sum of all processes' x, in an order that depends on their number only, so that it is the same to the bit in
     * all of them.
     *
     * @param processes that have made such a backend each, and call this together
     * @param x (n), F32
     */
    default void allReduce(Collective processes, Tensor x) {
        float[] values = x.toFloats();
        processes.allReduce(values, 0, values.length);
        x.write(values);
    }

    // ---------------------------------------------------------------------------------------------- running

    /**
     * The best number of parts to split a batch into, each computed on its own. The gradient is the sum of the parts'
     * and so depends on this number, which therefore must not depend on the number of workers.
     */
    int shards(int batch, int length);

    /** The number of tasks that {@link #parallel} runs concurrently. */
    int workers();

    /**
     * Runs {@code task} for 0 to {@code tasks} - 1, concurrently where the device can, and returns when all are done.
     */
    void parallel(int tasks, IntConsumer task);

    /**
     * Prepares operations that are repeated with the same arguments: each run of the returned object has the effect of
     * {@code work}. A GPU captures them as a graph, so {@code work} must neither read nor write tensors from the host;
     * other devices run {@code work} itself.
     *
     * @param arena whose tensors the operations use; closing it also frees the captured graph
     */
    default Runnable record(Arena arena, Runnable work) {
        return work;
    }

    /**
     * Prepares repeated operations on each sequence of a pass alone: drawing the batch, the forward pass, the loss, the
     * backward pass. None of them may read a sum over the sequences, such as a loss or a parameter's gradient, except
     * {@code gradNorm} and {@code adamW}, which may come last. A GPU runs those of a small model in few launches; other
     * devices run them as they are.
     *
     * @param arena closing it frees the region
     * @param work calls operations on its argument, the same ones each time
     */
    default Runnable region(Arena arena, Consumer<Operations> work) {
        return () -> work.accept(this);
    }

    /** Whether an operation is done when it returns; otherwise reading a value waits for all earlier operations. */
    default boolean isSynchronous() {
        return true;
    }

    /**
     * The best number of {@code times} repetitions of the same work to record together: enough to make the cost of
     * starting them small, and few enough to take no longer than milliseconds. 1 on a synchronous device, which gains
     * nothing.
     *
     * @param times at least 1
     * @param flops approximate floating-point operations of the work
     */
    default int repetitionsPerLaunch(int times, double flops) {
        return 1;
    }

    /**
     * Waits for calls under way, then frees the backend's resources, and on a GPU what its arenas still hold. Closing it
     * again does nothing.
     *
     * @throws IllegalStateException if called by the backend's own work, such as a task of {@link #parallel}
     */
    @Override
    void close();
}
