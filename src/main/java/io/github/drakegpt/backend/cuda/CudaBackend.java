package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.Collective;
import io.github.drakegpt.backend.DeviceClock;
import io.github.drakegpt.backend.LibraryOperations;
import io.github.drakegpt.backend.MatmulCandidate;
import io.github.drakegpt.backend.PackedMatmulCandidate;
import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.ops.Operation;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.UniformOperations;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.IntConsumer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Runs on an NVIDIA GPU: cuBLAS for the matrix products, the kernels of {@code kernels/} for the rest. Operations are
 * asynchronous; reading a tensor waits for all earlier ones. Every sum has a fixed order, so the same calls give the
 * same bits.
 */
public final class CudaBackend extends UniformOperations implements Backend {
    private static final Logger log = LoggerFactory.getLogger(CudaBackend.class);

    /** Maximum repetitions in one graph: enough to make its launch cheap even for the smallest work. */
    private static final int MOST_TOGETHER = 50;
    /** Maximum work in one graph: a few milliseconds, on slow GPUs a few tens, which makes its launch negligible. */
    private static final double MOST_FLOPS_TOGETHER = 2e10;

    /** The property that tests set to true, so that work that cannot be recorded fails them. */
    static final String STRICT = "drakegpt.recording.strict";

    /** Bytes that kernels read and write at a time. */
    private static final int ALIGNMENT = 16;

    private final CudaResources resources;
    private final CudaOperations operations;
    private final CudaContext context;
    private final Set<DeviceArena> arenas = new LinkedHashSet<>(); // those that hold anything
    private final Precision precision;
    private final boolean fuse;
    private final String description;
    private final SequenceCompiler sequences;
    private boolean allRecorded = true;

    CudaBackend(CudaContext context, Kernels kernels, BackendOptions options) {
        this(new CudaResources(context, kernels, options.precision()), options);
    }

    private CudaBackend(CudaResources resources, BackendOptions options) {
        this.resources = resources;
        this.context = resources.context();
        this.precision = options.precision();
        this.fuse = options.fuse();
        this.operations = new CudaOperations(resources, options.fuse());
        this.sequences = new SequenceCompiler(resources);
        this.description = context.deviceName() + ", compute capability " + context.capability() + ", cuBLAS "
                + resources.gemm().version();
    }

    /**
     * A backend in a context and on a stream that the calling program made: its own work on that stream and the
     * backend's run in the order of the calls. Closing the backend leaves both open. The context becomes, and stays,
     * current for each calling thread. The second run of recorded work is captured: during it the program must not wait
     * for the whole context or device (cuCtxSynchronize, cudaDeviceSynchronize), nor use the default stream if the
     * given one waits for it (made without CU_STREAM_NON_BLOCKING). Otherwise the capture is lost, and the work is
     * launched without a graph, which is slower. JCuda's exceptions must be off, which is the default.
     *
     * @param stream of that context, not the default one
     * @param options of which a GPU ignores the threads
     * @throws IllegalArgumentException if the stream is a default stream, or of another context
     * @throws CudaUnavailableException if cuBLAS cannot be found
     */
    public static CudaBackend on(CUcontext context, CUstream stream, BackendOptions options) {
        CudaLibraries libraries = CudaLibraries.load(CudaLibraries.Driver.NVIDIA);
        libraries.obstacle().ifPresent(obstacle -> {
            throw new CudaUnavailableException(obstacle);
        });
        return open(CudaContext.of(context, stream), options);
    }

    /**
     * A backend with its own context and stream.
     *
     * @param libraries proof that they are loaded
     */
    static CudaBackend open(CudaLibraries libraries, int device, BackendOptions options) {
        return open(CudaContext.open(device), options);
    }

    /** A backend on an existing context. */
    static CudaBackend open(CudaContext context, BackendOptions options) {
        return new CudaBackend(context, new Kernels(context, Kernels::compiled), options);
    }

    @Override
    public String name() {
        return "cuda";
    }

    @Override
    public String description() {
        return description;
    }

    @Override
    public Precision precision() {
        return precision;
    }

    /** @throws IllegalArgumentException always: sums of GPUs need NCCL, which this does not know */
    @Override
    public void allReduce(Collective processes, Tensor x) {
        throw new IllegalArgumentException(
                "A training runs on one GPU only; start one process, or give --device cpu for several.");
    }

    @Override
    public Arena newArena() {
        context.requireOpen();
        return new DeviceArena(context, resources.staging(), arenas);
    }

    /**
     * A tensor in memory that the calling program allocated in this context and will free.
     *
     * @param pointer to the first element, at a multiple of 16 bytes
     * @throws IllegalArgumentException if the address is another one, or the memory ends before the tensor
     */
    public Tensor wrap(CUdeviceptr pointer, DType dtype, Shape shape) {
        CudaContext.Block block = context.exclusively(() -> context.blockAt(pointer));
        long offset = DeviceStorage.address(pointer) - DeviceStorage.address(block.start());
        if (offset % ALIGNMENT != 0) {
            throw new IllegalArgumentException("The pointer's address is not a multiple of " + ALIGNMENT
                    + ", as kernels need it; wrap from such an address on, and take a part of that tensor.");
        }
        if (shape.size() > (block.bytes() - offset) / dtype.bytes()) {
            throw new IllegalArgumentException("A tensor " + dtype + " " + shape + " takes "
                    + shape.size() * dtype.bytes() + " bytes, and " + (block.bytes() - offset)
                    + " are allocated from the pointer on; allocate more, or give a smaller shape.");
        }
        DeviceStorage storage =
                new DeviceStorage(context, resources.staging(), dtype, block.start(), block.bytes() / dtype.bytes());
        return new Tensor(dtype, shape, storage, offset / dtype.bytes());
    }

    /**
     * Address of a tensor's first element.
     *
     * @throws IllegalArgumentException if it is not on a GPU
     */
    public static CUdeviceptr pointer(Tensor tensor) {
        return DeviceStorage.pointer(tensor, 0);
    }

    /** Does something, and tells the observer of each launch of a kernel that the calling thread makes meanwhile. */
    public static void observeLaunches(LaunchObserver observer, Runnable work) {
        Kernels.observe(observer, work);
    }

    /**
     * The PTX of a file of kernels/.
     *
     * @param file without its extension
     * @throws IllegalArgumentException if there is none
     */
    public static String ptx(String file) {
        return Kernels.compiled(file);
    }

    CudaContext context() {
        return context;
    }

    Kernels kernels() {
        return resources.kernels();
    }

    /** Its other resources. */
    CudaResources resources() {
        return resources;
    }

    /** One: a whole batch at once fills the GPU best. */
    @Override
    public int shards(int batch, int length) {
        return 1;
    }

    @Override
    public int workers() {
        return 1;
    }

    @Override
    public void parallel(int tasks, IntConsumer task) {
        context.exclusively(() -> {
            for (int i = 0; i < tasks; i++) {
                task.accept(i);
            }
        });
    }

    @Override
    public Runnable record(Arena arena, Runnable work) {
        Recording recording = new Recording(context, work, this::notRecorded);
        arena.onClose(recording::close);
        return recording;
    }

    /** With {@code CUDA_LAUNCH_BLOCKING=1} each operation has its own launches, so that an error names its own kernel. */
    @Override
    public Runnable region(Arena arena, Consumer<Operations> work) {
        return fuse && !context.blocking() ? sequenceRegion(arena, work) : Backend.super.region(arena, work);
    }

    SequenceRegion sequenceRegion(Arena arena, Consumer<Operations> work) {
        SequenceRegion region = new SequenceRegion(this, sequences, work);
        arena.onClose(region::close);
        return region;
    }

    /** Warns once that work cannot be recorded; throws the reason if {@link #STRICT} is set. */
    private void notRecorded(CudaException reason) {
        if (Boolean.getBoolean(STRICT)) {
            throw reason;
        }
        if (allRecorded) {
            log.warn("The GPU cannot record work ({}); it is launched piece by piece, which is slower", reason.error());
            allRecorded = false;
        }
        log.debug("What could not be recorded", reason);
    }

    @Override
    public boolean isSynchronous() {
        return false;
    }

    @Override
    public int repetitionsPerLaunch(int times, double flops) {
        int most = (int) Math.max(1, Math.min(MOST_TOGETHER, MOST_FLOPS_TOGETHER / flops));
        return times / Grid.blocks(times, most); // equal parts, so that few repetitions are left over
    }

    @Override
    public DeviceClock newClock(Arena arena, int marks) {
        EventClock clock = new EventClock(context, marks);
        arena.onClose(clock::close);
        return clock;
    }

    @Override
    public List<MatmulCandidate> products() {
        List<MatmulCandidate> products = new ArrayList<>();
        for (CudaCandidate.Kind kind : CudaCandidate.Kind.values()) {
            products.add(new CudaCandidate(context, resources.gemm(), kind));
        }
        products.add(new PackedMatmulCandidate(this, Quantization.B158));
        products.add(new PackedMatmulCandidate(this, Quantization.BITNET));
        for (PackedPath path : PackedPath.values()) {
            products.add(new PackedMatmulCandidate(
                    Quantization.B158.label() + " " + path.title(),
                    Quantization.B158,
                    this,
                    path.leastRows(),
                    path.mostRows(),
                    (op, pass) -> packedLinear(path, op, pass)));
        }
        return products;
    }

    @Override
    public Optional<LibraryOperations> libraryOperations(Arena arena) {
        if (!CudaLibraries.cudnnUsable()) {
            return Optional.empty();
        }
        try {
            return Optional.of(context.exclusively(() -> new Cudnn(context, arena)));
        } catch (CudaException e) { // only measurements need it
            log.warn("Nothing is measured against cuDNN: {}", e.getMessage());
            return Optional.empty();
        }
    }

    @Override
    public long resetPeakBytes() {
        return context.memoryCount().resetPeak();
    }

    @Override
    protected void run(Operation op, Pass pass) {
        context.exclusively(() -> op.run(operations, pass));
    }

    /** {@link #packedLinear} on a given path, for tests and benchmarks. */
    void packedLinear(PackedPath path, PackedLinearOp op, Pass pass) {
        context.exclusively(() -> operations.packedLinear(path, op, pass));
    }

    @Override
    public void close() {
        if (context.isAtWork()) {
            throw new IllegalStateException("A backend cannot be closed by its own work; close it after that.");
        }
        context.exclusivelyIfOpen(() -> {
            try (resources) {
                List.copyOf(arenas).forEach(DeviceArena::close);
            }
        });
    }
}
