package io.github.drakegpt.backend.cuda;

import java.util.function.Consumer;
import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.CUstream;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;

/**
 * A second stream, for a matrix product that runs beside another one: either alone often leaves some multiprocessors without
 * work. Only recorded work is spread over both, since to launch events takes the host longer than is gained.
 */
final class SideStream implements AutoCloseable {
    private final CudaContext context;
    private final CUstream stream = new CUstream();
    private final CUevent begun = new CUevent();
    private final CUevent done = new CUevent();
    private final Gemm gemm;

    SideStream(CudaContext context, boolean tf32) {
        this.context = context;
        context.enter();
        context.check(
                JCudaDriver.cuStreamCreate(stream, CUstream_flags.CU_STREAM_NON_BLOCKING), "making a second stream");
        for (CUevent event : new CUevent[] {begun, done}) {
            context.check(JCudaDriver.cuEventCreate(event, CUevent_flags.CU_EVENT_DISABLE_TIMING), "making an event");
        }
        try {
            this.gemm = new Gemm(context, stream, tf32);
        } catch (RuntimeException e) {
            if (!context.broken()) {
                destroy();
            }
            throw e;
        }
    }

    /**
     * Records {@code aside}, with products on the second stream, and {@code meanwhile} on the first. What comes next waits for
     * both. Neither may write what the other reads or writes; scratch memory is {@code aside}'s.
     */
    void record(Consumer<Gemm> aside, Runnable meanwhile) {
        context.enter(); // what was deferred goes to the first stream
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
        context.enter();
        context.check(JCudaDriver.cuEventDestroy(begun), "destroying an event");
        context.check(JCudaDriver.cuEventDestroy(done), "destroying an event");
        context.check(JCudaDriver.cuStreamDestroy(stream), "destroying a stream");
    }
}
