package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.Arena;
import io.github.drakegpt.backend.OutOfMemoryException;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import jcuda.driver.CUdeviceptr;

/** Memory of a GPU, and what was recorded over it. */
final class DeviceArena implements Arena {
    private final CudaContext context;
    private final Staging staging;
    private final List<AutoCloseable> owned = new ArrayList<>();
    private long bytes;

    DeviceArena(CudaContext context, Staging staging) {
        this.context = context;
        this.staging = staging;
    }

    @Override
    public Tensor allocate(DType dtype, Shape shape) {
        long wanted = shape.size() * dtype.bytes();
        CUdeviceptr pointer = context.allocate(wanted);
        if (pointer == null) {
            long[] memory = context.memory();
            throw new OutOfMemoryException(
                    String.format(
                            "The GPU has no memory for a tensor %s %s of %,d MB: %,d MB of its %,d MB are free, and %,d MB are"
                                    + " taken here; choose a smaller batch, or end what else uses the GPU (nvidia-smi shows it).",
                            dtype, shape, wanted >> 20, memory[0] >> 20, memory[1] >> 20, bytes >> 20),
                    null);
        }
        DeviceStorage storage = new DeviceStorage(context, staging, dtype, pointer);
        owned.add(storage);
        bytes += wanted;
        context.zero(pointer, wanted);
        return new Tensor(dtype, shape, storage, 0);
    }

    /** Makes the arena close something with its memory, and before it. */
    void own(AutoCloseable resource) {
        owned.add(resource);
    }

    @Override
    public long bytes() {
        return bytes;
    }

    @Override
    public long available() {
        return context.memory()[0];
    }

    @Override
    public void close() {
        for (int i = owned.size() - 1; i >= 0; i--) {
            try {
                owned.get(i).close();
            } catch (RuntimeException e) {
                throw e;
            } catch (Exception e) {
                throw new IllegalStateException(e); // nothing here throws a checked one
            }
        }
        owned.clear();
        bytes = 0;
    }
}
