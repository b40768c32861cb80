package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.DeviceClock;
import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.JCudaDriver;

/** Marks by CUDA events, which the GPU stamps with its own time, to about half a microsecond. */
final class EventClock implements DeviceClock {
    private final CudaContext context;
    private final CUevent[] events;

    EventClock(CudaContext context, int marks) {
        this.context = context;
        this.events = new CUevent[marks];
    }

    @Override
    public void mark(int i) {
        context.exclusively(() -> markAlone(i));
    }

    private void markAlone(int i) {
        context.requireNotCapturing();
        context.enter();
        if (events[i] == null) {
            CUevent event = new CUevent();
            context.check(JCudaDriver.cuEventCreate(event, CUevent_flags.CU_EVENT_DEFAULT), "making an event");
            events[i] = event;
        }
        context.check(JCudaDriver.cuEventRecord(events[i], context.stream()), "recording an event");
    }

    @Override
    public double seconds(int from, int to) {
        return context.exclusively(() -> secondsAlone(from, to));
    }

    private double secondsAlone(int from, int to) {
        context.requireNotCapturing();
        context.enter();
        context.check(JCudaDriver.cuEventSynchronize(events[to]), "waiting for an event");
        float[] milliseconds = new float[1];
        context.check(
                JCudaDriver.cuEventElapsedTime(milliseconds, events[from], events[to]), "reading the time of events");
        return 1e-3 * milliseconds[0];
    }

    void close() {
        if (context.broken()) {
            return;
        }
        context.enter();
        for (CUevent event : events) {
            if (event != null) {
                context.check(JCudaDriver.cuEventDestroy(event), "destroying an event");
            }
        }
    }
}
