package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Collective;
import io.github.drakegpt.backend.DeviceClock;
import io.github.drakegpt.backend.MatmulCandidate;
import io.github.drakegpt.backend.MemoryCount;
import io.github.drakegpt.backend.PackedMatmulCandidate;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.Operation;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.UniformOperations;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.List;
import java.util.OptionalDouble;
import java.util.function.IntConsumer;

/**
 * Runs on the CPU, in native code or, where there is none, in Java. The operations of layers run on the calling thread,
 * and {@link #parallel} runs several parts of a batch concurrently; operations over flat parameter buffers and large
 * products with packed weights use all threads themselves. No bit of a result depends on the number of threads, the
 * processor's instructions, or the language: the classes named Java... define the order of all sums.
 */
public final class CpuBackend extends UniformOperations implements Backend {
    private static final int SHARD_ROWS = 128;
    private static final int MAX_SHARDS = 16;
    private final Workers workers;
    private final Precision precision;
    private final KernelsChoice kernels;
    private final CpuOperations operations;
    private final MemoryCount memory = new MemoryCount();

    /** In float32. @param threads that run concurrently, at least 1 */
    public CpuBackend(int threads) {
        this(threads, Precision.FP32, KernelsChoice.get());
    }

    /** @param precision FP32 or BF16 */
    CpuBackend(int threads, Precision precision, KernelsChoice kernels) {
        this.workers = new Workers(threads);
        this.precision = precision;
        this.kernels = kernels;
        this.operations = new CpuOperations(workers, precision, kernels);
    }

    @Override
    public String name() {
        return "cpu";
    }

    @Override
    public String description() {
        return workers.count() + (workers.count() == 1 ? " thread, " : " threads, ") + kernels.description();
    }

    @Override
    public Precision precision() {
        return precision;
    }

    @Override
    public DType activations() {
        return DType.F32;
    }

    @Override
    public Arena newArena() {
        workers.requireOpen();
        return new HeapArena(memory);
    }

    @Override
    public Tensor wrap(DType dtype, Object array, Shape shape) {
        HeapStorage storage = new HeapStorage(array);
        if (storage.size() != shape.size()) {
            throw new IllegalArgumentException("An array of " + storage.size() + " values was given for a tensor "
                    + shape + "; give one of " + shape.size() + ".");
        }
        return new Tensor(dtype, shape, storage, 0);
    }

    @Override
    public long resetPeakBytes() {
        return memory.resetPeak();
    }

    /**
     * Parts of {@link #SHARD_ROWS} rows or more, small enough to occupy several threads and large enough for efficient
     * matrix products; a power of two, so that the usual numbers of threads are all busy to the end.
     */
    @Override
    public int shards(int batch, int length) {
        int most = Math.min(Math.min(batch, MAX_SHARDS), batch * length / SHARD_ROWS);
        return Math.max(1, Integer.highestOneBit(most));
    }

    @Override
    public int workers() {
        return workers.count();
    }

    @Override
    public void parallel(int tasks, IntConsumer task) {
        workers.run(tasks, task);
    }

    @Override
    public void allReduce(Collective processes, Tensor x) {
        processes.allReduce(HeapStorage.floats(x), HeapStorage.start(x), (int) x.size());
    }

    @Override
    public DeviceClock newClock(Arena arena, int marks) {
        long[] nanos = new long[marks];
        return new DeviceClock() {
            @Override
            public void mark(int i) {
                nanos[i] = System.nanoTime();
            }

            @Override
            public double seconds(int from, int to) {
                return 1e-9 * (nanos[to] - nanos[from]);
            }
        };
    }

    @Override
    public List<MatmulCandidate> products() {
        return List.of(
                new CpuCandidate(this),
                new PackedMatmulCandidate(this, Quantization.B158),
                new PackedMatmulCandidate(this, Quantization.BITNET));
    }

    @Override
    public OptionalDouble measurePeak(Bound bound) {
        Instructions instructions = kernels.instructions();
        return instructions == null || bound == Bound.INT8 && !instructions.packed()
                ? OptionalDouble.empty()
                : OptionalDouble.of(new NativePeak(instructions, workers).perSecond(bound));
    }

    @Override
    protected void run(Operation op, Pass pass) {
        workers.enter();
        try {
            op.run(operations, pass);
        } finally {
            workers.leave();
        }
    }

    @Override
    public void close() {
        workers.close();
    }
}
