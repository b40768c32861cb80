package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Precision;
import java.util.function.Consumer;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.CUstream;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;

/**
 * A second stream, for a matrix product concurrent with another one, since each alone often leaves some multiprocessors
 * idle. Only recorded work uses it: outside of a graph, launching the events costs more than it gains.
 */
final class SideStream implements AutoCloseable {
    private static final int WARM_UP = 64;

    private final CudaContext context;
    private final CUstream stream = new CUstream();
    private final CUevent begun = new CUevent();
    private final CUevent done = new CUevent();
    private final Gemm gemm;

    SideStream(CudaContext context, Precision precision) {
        this.context = context;
        context.enter();
        context.check(
                JCudaDriver.cuStreamCreate(stream, CUstream_flags.CU_STREAM_NON_BLOCKING), "making a second stream");
        for (CUevent event : new CUevent[] {begun, done}) {
            context.check(JCudaDriver.cuEventCreate(event, CUevent_flags.CU_EVENT_DISABLE_TIMING), "making an event");
        }
        try {
            this.gemm = new Gemm(context, stream, precision == Precision.TF32);
        } catch (RuntimeException e) {
            destroy();
            throw e;
        }
        try {
            warmUp(precision == Precision.BF16 ? DType.BF16 : DType.F32);
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    /**
     * Multiplies like a backward pass. cuBLAS initializes a handle at its first product, which must not be in a
     * capture, where allocating and loading are forbidden.
     */
    private void warmUp(DType inputType) {
        long bytes = (long) WARM_UP * WARM_UP * Float.BYTES;
        CUdeviceptr memory = context.allocate(2 * bytes, "matrix products");
        DeviceMatrix input = new DeviceMatrix(memory, inputType, WARM_UP, WARM_UP);
        DeviceMatrix product = new DeviceMatrix(memory.withByteOffset(bytes), DType.F32, WARM_UP, WARM_UP);
        CUstream first = context.stream();
        context.switchTo(stream);
        try {
            context.zero(memory, bytes);
            gemm.multiply(input.transpose(), input, product);
        } finally {
            context.switchTo(first);
        }
        context.check(JCudaDriver.cuStreamSynchronize(stream), "waiting for the second stream");
        context.synchronize(); // so that these launches are not suspects of a later error
        context.free(memory);
    }

    /**
     * Records {@code aside}, with products on the second stream, and {@code meanwhile} on the first. Later work waits
     * for both. Neither may write memory that the other reads or writes; only {@code aside} may use scratch memory.
     */
    void record(Consumer<Gemm> aside, Runnable meanwhile) {
        context.enter();
        CUstream first = context.stream();
        context.check(JCudaDriver.cuEventRecord(begun, first), "recording an event");
        context.check(JCudaDriver.cuStreamWaitEvent(stream, begun, 0), "letting a stream wait");
        context.switchTo(stream);
        try {
            aside.accept(gemm);
        } finally {
            context.switchTo(first);
        }
        context.check(JCudaDriver.cuEventRecord(done, stream), "recording an event");
        meanwhile.run();
        context.check(JCudaDriver.cuStreamWaitEvent(first, done, 0), "letting a stream wait");
    }

    @Override
    public void close() {
        gemm.close();
        destroy();
    }

    private void destroy() {
        if (context.broken()) {
            return;
        }
        context.enter();
        context.check(JCudaDriver.cuEventDestroy(begun), "destroying an event");
        context.check(JCudaDriver.cuEventDestroy(done), "destroying an event");
        context.check(JCudaDriver.cuStreamDestroy(stream), "destroying a stream");
    }
}
