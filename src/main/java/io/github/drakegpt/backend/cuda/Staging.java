package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.tensor.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.JCudaDriver;

/**
 * Page-locked host memory for asynchronous copies to the device: a write waits only if all slots are still being
 * copied.
 */
final class Staging implements AutoCloseable {
    private static final int SLOTS = 64;
    private static final int SLOT_BYTES = 1 << 16;

    private final CudaContext context;
    private final Pointer pinned = new Pointer();
    private final ByteBuffer buffer;
    private final CUevent[] fetched = new CUevent[SLOTS];
    private int next;

    Staging(CudaContext context) {
        this.context = context;
        context.enter();
        context.check(
                JCudaDriver.cuMemAllocHost(pinned, (long) SLOTS * SLOT_BYTES), "allocating page-locked host memory");
        buffer = pinned.getByteBuffer(0, (long) SLOTS * SLOT_BYTES).order(ByteOrder.nativeOrder());
        for (int i = 0; i < SLOTS; i++) {
            fetched[i] = new CUevent();
            context.check(
                    JCudaDriver.cuEventCreate(fetched[i], CUevent_flags.CU_EVENT_DISABLE_TIMING), "making an event");
        }
    }

    /** Copies elements of an array to the device. The array may change when this returns. */
    void write(CUdeviceptr target, DType dtype, Object array, int from, int length) {
        context.requireNotCapturing(); // waiting for a slot would already end the capture
        int perSlot = SLOT_BYTES / dtype.bytes();
        for (int done = 0; done < length; done += perSlot) {
            int n = Math.min(perSlot, length - done);
            int slot = next;
            next = (next + 1) % SLOTS;
            context.enter();
            context.check(JCudaDriver.cuEventSynchronize(fetched[slot]), "waiting for a copy");
            ByteBuffer part = slot(slot);
            switch (dtype) {
                case F32 -> part.asFloatBuffer().put((float[]) array, from + done, n);
                case I32 -> part.asIntBuffer().put((int[]) array, from + done, n);
                case U16, BF16 -> part.asCharBuffer().put((char[]) array, from + done, n);
                case I8 -> part.put((byte[]) array, from + done, n);
            }
            context.copyToDevice(
                    target.withByteOffset((long) done * dtype.bytes()),
                    pinned.withByteOffset((long) slot * SLOT_BYTES),
                    (long) n * dtype.bytes());
            context.check(JCudaDriver.cuEventRecord(fetched[slot], context.stream()), "recording an event");
        }
    }

    /** Copies elements to an array, after all earlier work. */
    void read(CUdeviceptr source, DType dtype, Object array, int to, int length) {
        int perPass = SLOTS * SLOT_BYTES / dtype.bytes();
        context.synchronize(); // no slot is being copied any more
        for (int done = 0; done < length; done += perPass) {
            int n = Math.min(perPass, length - done);
            context.copyToHost(pinned, source.withByteOffset((long) done * dtype.bytes()), (long) n * dtype.bytes());
            context.synchronize();
            ByteBuffer part = buffer.duplicate().order(ByteOrder.nativeOrder());
            switch (dtype) {
                case F32 -> part.asFloatBuffer().get((float[]) array, to + done, n);
                case I32 -> part.asIntBuffer().get((int[]) array, to + done, n);
                case U16, BF16 -> part.asCharBuffer().get((char[]) array, to + done, n);
                case I8 -> part.get((byte[]) array, to + done, n);
            }
        }
    }

    private ByteBuffer slot(int slot) {
        return buffer.duplicate()
                .position(slot * SLOT_BYTES)
                .limit((slot + 1) * SLOT_BYTES)
                .slice()
                .order(ByteOrder.nativeOrder());
    }

    @Override
    public void close() {
        if (context.broken()) {
            return;
        }
        context.enter();
        for (CUevent event : fetched) {
            context.check(JCudaDriver.cuEventDestroy(event), "destroying an event");
        }
        context.check(JCudaDriver.cuMemFreeHost(pinned), "freeing page-locked host memory");
    }
}
