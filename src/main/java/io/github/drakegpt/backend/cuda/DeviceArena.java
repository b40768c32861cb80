package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import jcuda.driver.CUdeviceptr;

/** Device memory, and the recordings that use it. */
final class DeviceArena implements Arena {
    private final CudaContext context;
    private final Staging staging;
    private final List<Runnable> releases = new ArrayList<>();
    private long bytes;

    DeviceArena(CudaContext context, Staging staging) {
        this.context = context;
        this.staging = staging;
    }

    @Override
    public Tensor allocate(DType dtype, Shape shape) {
        long wanted = shape.size() * dtype.bytes();
        CUdeviceptr pointer = context.allocate(wanted, "a tensor " + dtype + " " + shape);
        DeviceStorage storage = new DeviceStorage(context, staging, dtype, pointer, shape.size());
        releases.add(storage::close);
        bytes += wanted;
        context.zero(pointer, wanted);
        return new Tensor(dtype, shape, storage, 0);
    }

    @Override
    public void onClose(Runnable release) {
        releases.add(release);
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
        context.requireNotCapturing();
        if (!context.broken()) {
            releases.add(context::synchronize); // first: running work may use the memory
        }
        RuntimeException failure = null;
        for (int i = releases.size() - 1; i >= 0; i--) {
            try {
                releases.get(i).run();
            } catch (RuntimeException e) {
                if (failure == null) {
                    failure = e;
                } else {
                    failure.addSuppressed(e);
                }
            }
        }
        releases.clear();
        bytes = 0;
        if (failure != null) {
            throw failure;
        }
    }
}
