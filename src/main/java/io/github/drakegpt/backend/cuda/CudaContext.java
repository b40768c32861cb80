package io.github.drakegpt.backend.cuda;

import static jcuda.driver.CUresult.CUDA_SUCCESS;

import io.github.drakegpt.backend.MemoryCount;
import io.github.drakegpt.tensor.OutOfMemoryException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdevice_attribute;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUgraph;
import jcuda.driver.CUgraphExec;
import jcuda.driver.CUresult;
import jcuda.driver.CUstream;
import jcuda.driver.CUstreamCaptureMode;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A GPU: its context, and the stream of its work, in the order of the calls. All methods are asynchronous except
 * {@link #synchronize}. Calls may come from any thread, but from one at a time: within {@link #exclusively}.
 *
 * <p>CUDA reports an error of a kernel at some later call, and from then on at every call: such a context is broken,
 * and nothing on it can be used or even freed any more. The context remembers the kernels launched since the last
 * successful synchronization, to name those that may be the cause. With {@code CUDA_LAUNCH_BLOCKING=1}, CUDA's own
 * variable, that is one kernel.
 */
final class CudaContext implements AutoCloseable {
    private static final Logger log = LoggerFactory.getLogger(CudaContext.class);
    private static final double MEGABYTE = 1 << 20;
    // newer than JCuda's list of errors
    private static final int CONTAINED = 226;
    private static final int EXTERNAL_DEVICE = 911;

    private final int ordinal;
    private final CUcontext context;
    private final CUstream stream;
    private final boolean own;
    private final boolean blocking;
    private final Set<String> launched = new LinkedHashSet<>(); // since the last successful synchronization
    private final Set<String> captured = new LinkedHashSet<>(); // in the current capture
    private CUstream current;
    private boolean capturing;
    private boolean broken;
    private volatile boolean closed;
    private final ReentrantLock turn = new ReentrantLock(); // of the thread that calls
    private final Map<CUdeviceptr, Long> allocations = new HashMap<>(); // live allocations and their bytes
    private final MemoryCount memory = new MemoryCount();

    private CudaContext(int ordinal, CUcontext context, CUstream stream, boolean own) {
        this.ordinal = ordinal;
        this.context = context;
        this.stream = stream;
        this.current = stream;
        this.own = own;
        this.blocking = "1".equals(System.getenv("CUDA_LAUNCH_BLOCKING"));
    }

    /** The primary context of a device, shared with other users of CUDA in this process, and a new stream. */
    static CudaContext open(int ordinal) {
        require(JCudaDriver.cuInit(0), "starting CUDA");
        CUdevice device = new CUdevice();
        require(JCudaDriver.cuDeviceGet(device, ordinal), "finding GPU " + ordinal);
        CUcontext context = new CUcontext();
        require(JCudaDriver.cuDevicePrimaryCtxRetain(context, device), "taking the context of GPU " + ordinal);
        require(JCudaDriver.cuCtxSetCurrent(context), "entering the context of GPU " + ordinal);
        CUstream stream = new CUstream();
        int result = JCudaDriver.cuStreamCreate(stream, CUstream_flags.CU_STREAM_NON_BLOCKING);
        if (result != CUDA_SUCCESS) {
            JCudaDriver.cuDevicePrimaryCtxRelease(device);
            require(result, "making a stream");
        }
        return new CudaContext(ordinal, context, stream, true);
    }

    /** A context and a stream that the caller made and will destroy. */
    static CudaContext of(CUcontext context, CUstream stream) {
        if (stream == null
                || stream.equals(new CUstream())
                || stream.equals(JCudaDriver.CU_STREAM_LEGACY)
                || stream.equals(JCudaDriver.CU_STREAM_PER_THREAD)) {
            throw new IllegalArgumentException(
                    "A default stream, the process's or a thread's, cannot be used; make a stream with cuStreamCreate and"
                            + " give that.");
        }
        require(JCudaDriver.cuCtxSetCurrent(context), "entering the given context");
        CUcontext owner = new CUcontext();
        require(JCudaDriver.cuStreamGetCtx(stream, owner), "finding the context of the given stream");
        if (!owner.equals(context)) {
            throw new IllegalArgumentException(
                    "The stream belongs to another context than the one that was given; give the two that belong"
                            + " together.");
        }
        CUdevice device = new CUdevice();
        require(JCudaDriver.cuCtxGetDevice(device), "finding the GPU of the given context");
        for (int ordinal = 0; ; ordinal++) {
            CUdevice candidate = new CUdevice();
            require(JCudaDriver.cuDeviceGet(candidate, ordinal), "finding the GPU of the given context");
            if (candidate.equals(device)) {
                return new CudaContext(ordinal, context, stream, false);
            }
        }
    }

    private static void require(int result, String doing) {
        if (result != CUDA_SUCCESS) {
            String error = CUresult.stringFor(result);
            throw new CudaException(error, false, error + " while " + doing + "; run doctor to see what CUDA finds.");
        }
    }

    // ---------------------------------------------------------------------------------------------- the device

    /** The device's name, such as NVIDIA H200. */
    String deviceName() {
        byte[] name = new byte[256];
        check(JCudaDriver.cuDeviceGetName(name, name.length, device()), "reading the GPU's name");
        int length = 0;
        while (name[length] != 0) {
            length++;
        }
        return new String(name, 0, length, StandardCharsets.UTF_8);
    }

    /** Compute capability, such as 9.0. */
    String capability() {
        return attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) + "."
                + attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    }

    /** Maximum bytes of dynamic shared memory of a block. */
    int sharedMemory() {
        return attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
    }

    int multiprocessors() {
        return attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    }

    private int attribute(int attribute) {
        int[] value = new int[1];
        check(JCudaDriver.cuDeviceGetAttribute(value, attribute, device()), "reading the GPU's properties");
        return value[0];
    }

    private CUdevice device() {
        CUdevice device = new CUdevice();
        check(JCudaDriver.cuDeviceGet(device, ordinal), "finding GPU " + ordinal);
        return device;
    }

    /** Bytes of free device memory and of all. */
    long[] memory() {
        enter();
        long[] free = new long[1];
        long[] total = new long[1];
        check(JCudaDriver.cuMemGetInfo(free, total), "reading how much memory is free");
        return new long[] {free[0], total[0]};
    }

    /** The current stream. */
    CUstream stream() {
        return current;
    }

    /** Sends work to another stream from now on; synchronizing still waits for the first one. */
    void switchTo(CUstream other) {
        current = other;
    }

    // ---------------------------------------------------------------------------------------------- threads

    /**
     * Waits until no other thread does anything here, then does something.
     *
     * @throws IllegalStateException if this is closed
     */
    void exclusively(Runnable work) {
        exclusively(() -> {
            work.run();
            return null;
        });
    }

    /** The same with a result. */
    <T> T exclusively(Supplier<T> work) {
        turn.lock();
        try {
            requireOpen();
            return work.get();
        } finally {
            turn.unlock();
        }
    }

    /** The same, except that it does nothing if this is closed, which has freed everything. */
    void exclusivelyIfOpen(Runnable work) {
        turn.lock();
        try {
            if (!closed) {
                work.run();
            }
        } finally {
            turn.unlock();
        }
    }

    /** Whether the calling thread is within {@link #exclusively}. */
    boolean isAtWork() {
        return turn.isHeldByCurrentThread();
    }

    /** @throws IllegalStateException if this is closed */
    void requireOpen() {
        if (closed) {
            throw new IllegalStateException("The backend is closed; create another one.");
        }
    }

    // ---------------------------------------------------------------------------------------------- errors

    /** Makes this context current for the calling thread. */
    void enter() {
        check(JCudaDriver.cuCtxSetCurrent(context), "entering the GPU's context");
    }

    /**
     * Throws the error that a call of the driver reported, if any.
     *
     * @param doing purpose of the call, such as "copying to the GPU"
     */
    void check(int result, String doing) {
        if (result != CUDA_SUCCESS) {
            throw failure(result, doing);
        }
    }

    private CudaException failure(int result, String doing) {
        String error = CUresult.stringFor(result);
        StringBuilder message = new StringBuilder(error).append(" while ").append(doing);
        boolean lost = true;
        switch (result) {
            // errors of kernels
            case CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,
                    CUresult.CUDA_ERROR_MISALIGNED_ADDRESS,
                    CUresult.CUDA_ERROR_INVALID_ADDRESS_SPACE,
                    CUresult.CUDA_ERROR_INVALID_PC,
                    CUresult.CUDA_ERROR_ILLEGAL_INSTRUCTION,
                    CUresult.CUDA_ERROR_ASSERT,
                    CUresult.CUDA_ERROR_LAUNCH_TIMEOUT,
                    CUresult.CUDA_ERROR_LAUNCH_FAILED -> {
                message.append(suspects())
                        .append("; what the GPU held is lost, the last checkpoint is whole: please report this.");
            }
            // failures of a GPU
            case CUresult.CUDA_ERROR_UNKNOWN,
                    CUresult.CUDA_ERROR_DEVICE_UNAVAILABLE,
                    CUresult.CUDA_ERROR_ECC_UNCORRECTABLE,
                    CUresult.CUDA_ERROR_NVLINK_UNCORRECTABLE,
                    CUresult.CUDA_ERROR_HARDWARE_STACK_ERROR,
                    CUresult.CUDA_ERROR_CONTEXT_IS_DESTROYED,
                    CONTAINED,
                    EXTERNAL_DEVICE -> {
                message.append("; the GPU is lost to this process, the last checkpoint is whole:")
                        .append(" look at nvidia-smi and the system's log, and start again.");
            }
            case CUresult.CUDA_ERROR_OUT_OF_MEMORY -> {
                lost = false;
                message.append("; end what else needs memory on this machine or its GPU.");
            }
            default -> {
                lost = false;
                message.append("; run doctor to see what CUDA finds.");
            }
        }
        broken |= lost;
        return new CudaException(error, lost, message.toString());
    }

    /**
     * The exception for an error of a library on top of the driver: names an earlier kernel that failed rather than the
     * library that noticed it.
     */
    CudaException libraryFailure(String error, String doing) {
        int result = capturing // a stream cannot be synchronized then, but a lost device shows at any call
                ? JCudaDriver.cuMemGetInfo(new long[1], new long[1])
                : JCudaDriver.cuStreamSynchronize(stream);
        return result != CUDA_SUCCESS
                ? failure(result, doing)
                : new CudaException(error, false, error + " while " + doing + "; run doctor to see what CUDA finds.");
    }

    private String suspects() {
        return switch (launched.size()) {
            case 0 -> "";
            case 1 -> " (kernel " + launched.iterator().next() + ")";
            default ->
                " (one of the kernels " + String.join(", ", launched)
                        + "; with CUDA_LAUNCH_BLOCKING=1 in the environment the one is named)";
        };
    }

    /** Whether the context is unusable. */
    boolean broken() {
        return broken;
    }

    /** Waits until all work is done. */
    void synchronize() {
        requireNotCapturing();
        enter();
        check(JCudaDriver.cuStreamSynchronize(stream), "waiting for the GPU");
        launched.clear();
    }

    /** Throws before a call that the driver forbids during a capture, which would also lose the capture. */
    void requireNotCapturing() {
        if (capturing) {
            throw new IllegalStateException(
                    "Within recorded work the host cannot look at or change tensors, allocate, wait or take the time; do"
                            + " that before or after it runs.");
        }
    }

    // ---------------------------------------------------------------------------------------------- memory

    /**
     * Allocates device memory of undefined content.
     *
     * @param use purpose of the memory, such as "matrix products"
     * @throws OutOfMemoryException if there is not enough
     */
    CUdeviceptr allocate(long bytes, String use) {
        requireNotCapturing();
        enter();
        CUdeviceptr pointer = new CUdeviceptr();
        int result = JCudaDriver.cuMemAlloc(pointer, Math.max(bytes, 1));
        if (result == CUresult.CUDA_ERROR_OUT_OF_MEMORY) {
            long[] memory = memory();
            throw new OutOfMemoryException(
                    String.format(
                            Locale.ROOT,
                            "The GPU has no memory for %s: that takes %.1f MB, and %.1f of its %,d MB are free; choose a smaller batch, or end"
                                    + " what else uses the GPU (nvidia-smi shows it).",
                            use,
                            bytes / MEGABYTE,
                            memory[0] / MEGABYTE,
                            memory[1] >> 20),
                    null);
        }
        check(result, "allocating " + bytes + " bytes on the GPU");
        allocations.put(pointer, bytes);
        memory.add(bytes);
        return pointer;
    }

    /** Frees memory that no running work uses. */
    void free(CUdeviceptr pointer) {
        memory.add(-allocations.remove(pointer));
        if (!broken) { // the memory of a broken context is freed with the context
            enter();
            check(JCudaDriver.cuMemFree(pointer), "freeing memory on the GPU");
        }
    }

    /** Memory that was allocated at once. */
    record Block(CUdeviceptr start, long bytes) {}

    /**
     * The block in which an address lies, whoever has allocated it.
     *
     * @throws IllegalArgumentException if there is none
     */
    Block blockAt(CUdeviceptr pointer) {
        enter();
        CUdeviceptr start = new CUdeviceptr();
        long[] bytes = new long[1];
        int result = JCudaDriver.cuMemGetAddressRange(start, bytes, pointer);
        if (result == CUresult.CUDA_ERROR_NOT_FOUND || result == CUresult.CUDA_ERROR_INVALID_VALUE) {
            throw new IllegalArgumentException(
                    "The pointer is not one to memory of this GPU's context; give one that cuMemAlloc made.");
        }
        check(result, "finding the memory of a pointer");
        return new Block(start, bytes[0]);
    }

    /** Allocations that are not freed. */
    int liveAllocations() {
        return allocations.size();
    }

    /** Counts its allocations. */
    MemoryCount memoryCount() {
        return memory;
    }

    /** Sets bytes to zero. */
    void zero(CUdeviceptr pointer, long bytes) {
        enter();
        check(JCudaDriver.cuMemsetD8Async(pointer, (byte) 0, bytes, current), "zeroing memory on the GPU");
    }

    /** Copies within device memory. */
    void copy(CUdeviceptr target, CUdeviceptr source, long bytes) {
        enter();
        check(JCudaDriver.cuMemcpyDtoDAsync(target, source, bytes, current), "copying on the GPU");
    }

    void copyToDevice(CUdeviceptr target, Pointer pinned, long bytes) {
        requireNotCapturing();
        enter();
        check(JCudaDriver.cuMemcpyHtoDAsync(target, pinned, bytes, stream), "copying to the GPU");
    }

    void copyToHost(Pointer pinned, CUdeviceptr source, long bytes) {
        requireNotCapturing();
        enter();
        check(JCudaDriver.cuMemcpyDtoHAsync(pinned, source, bytes, stream), "copying from the GPU");
    }

    // ---------------------------------------------------------------------------------------------- work

    /** Notes that a kernel or a library's work is about to be launched. */
    void launching(String name) {
        (capturing ? captured : launched).add(name);
    }

    /** Notes that it was launched. */
    void launched(String name) {
        if (blocking && !capturing) {
            check(JCudaDriver.cuStreamSynchronize(stream), "running " + name);
            launched.clear();
        }
    }

    /** Whether work is being captured instead of run. */
    boolean capturing() {
        return capturing;
    }

    /** Whether each launch is synchronized, so that nothing can be captured. */
    boolean blocking() {
        return blocking;
    }

    /** Captured work: its executable graph and the names of its kernels. */
    record Graph(CUgraphExec exec, Set<String> kernels) {}

    /**
     * Captures the launches of {@code work} without running them.
     *
     * @throws CudaException if that is not possible; the stream is unchanged
     */
    Graph capture(Runnable work) {
        enter();
        captured.clear();
        check(
                JCudaDriver.cuStreamBeginCapture(stream, CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                "beginning to record");
        CUgraph graph = new CUgraph();
        boolean done = false;
        try {
            capturing = true;
            work.run();
            done = true;
        } finally {
            capturing = false;
            int result = JCudaDriver.cuStreamEndCapture(stream, graph); // also ends a lost capture
            if (done) {
                check(result, "recording");
            } else if (result == CUDA_SUCCESS) {
                JCudaDriver.cuGraphDestroy(graph);
            }
        }
        CUgraphExec exec = new CUgraphExec();
        try {
            check(JCudaDriver.cuGraphInstantiate(exec, graph, 0), "preparing what was recorded");
        } finally {
            JCudaDriver.cuGraphDestroy(graph);
        }
        return new Graph(exec, new LinkedHashSet<>(captured));
    }

    void launch(Graph graph) {
        enter();
        launched.addAll(graph.kernels());
        check(JCudaDriver.cuGraphLaunch(graph.exec(), stream), "running what was recorded");
    }

    void destroy(Graph graph) {
        if (!broken) {
            enter();
            check(JCudaDriver.cuGraphExecDestroy(graph.exec()), "freeing what was recorded");
        }
    }

    @Override
    public void close() {
        closed = true;
        if (!own) {
            return;
        }
        CUdevice device = new CUdevice();
        require(JCudaDriver.cuDeviceGet(device, ordinal), "finding GPU " + ordinal);
        if (broken) {
            log.debug("The context of GPU {} is broken; resetting it", ordinal);
            JCudaDriver.cuDevicePrimaryCtxReset(device); // both best effort: the device may be lost
            JCudaDriver.cuDevicePrimaryCtxRelease(device);
            return;
        }
        enter();
        check(JCudaDriver.cuStreamDestroy(stream), "destroying a stream");
        check(JCudaDriver.cuDevicePrimaryCtxRelease(device), "giving the GPU's context back");
    }

    @Override
    public String toString() {
        return "GPU " + ordinal;
    }
}
