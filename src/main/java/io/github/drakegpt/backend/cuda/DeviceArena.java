package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import jcuda.driver.CUdeviceptr;

/** Device memory, and the recordings that use it. */
final class DeviceArena implements Arena {
    private final CudaContext context;
    private final Staging staging;
    private final Set<DeviceArena> open;
    private final List<Runnable> releases = new ArrayList<>();
    private volatile long bytes; // written by one thread at a time

    /** @param open receives this while it holds anything */
    DeviceArena(CudaContext context, Staging staging, Set<DeviceArena> open) {
        this.context = context;
        this.staging = staging;
        this.open = open;
    }

    @Override
    public Tensor allocate(DType dtype, Shape shape) {
        return context.exclusively(() -> allocateAlone(dtype, shape));
    }

    private Tensor allocateAlone(DType dtype, Shape shape) {
        long wanted = shape.size() * dtype.bytes();
        CUdeviceptr pointer = context.allocate(wanted, "a tensor " + dtype + " " + shape);
        DeviceStorage storage = new DeviceStorage(context, staging, dtype, pointer, shape.size());
        onClose(storage::close);
        bytes += wanted;
        context.zero(pointer, wanted);
        return new Tensor(dtype, shape, storage, 0);
    }

    @Override
    public void onClose(Runnable release) {
        context.exclusively(() -> {
            releases.add(release);
            open.add(this);
        });
    }

    @Override
    public long bytes() {
        return bytes;
    }

    @Override
    public long available() {
        return context.exclusively(context::memory)[0];
    }

    @Override
    public void close() {
        context.exclusivelyIfOpen(this::closeAlone);
    }

    private void closeAlone() {
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
        open.remove(this);
        bytes = 0;
        if (failure != null) {
            throw failure;
        }
    }
}
