package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.MemoryCount;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.OutOfMemoryException;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** Memory on the Java heap; the garbage collector frees it. */
final class HeapArena implements Arena {
    private static final int MAX_LENGTH = Integer.MAX_VALUE - 8; // what virtual machines allow

    private final MemoryCount memory;
    private final List<Runnable> releases = new ArrayList<>();
    private long bytes;

    /** @param memory counts its allocations */
    HeapArena(MemoryCount memory) {
        this.memory = memory;
    }

    @Override
    public synchronized Tensor allocate(DType dtype, Shape shape) {
        if (shape.size() > MAX_LENGTH) {
            throw new OutOfMemoryException(
                    "A tensor " + dtype + " " + shape + " is larger than a Java array can be; choose a smaller batch.",
                    null);
        }
        try {
            Tensor tensor = new Tensor(dtype, shape, new HeapStorage(dtype, (int) shape.size()), 0);
            bytes += shape.size() * dtype.bytes();
            memory.add(shape.size() * dtype.bytes());
            return tensor;
        } catch (OutOfMemoryError e) {
            throw new OutOfMemoryException(
                    String.format(
                            "No memory for a tensor %s %s of %,d MB beside the %,d MB already taken, with a Java heap of at"
                                    + " most %,d MB; choose a smaller batch or give Java more memory with -Xmx.",
                            dtype,
                            shape,
                            shape.size() * dtype.bytes() >> 20,
                            bytes >> 20,
                            Runtime.getRuntime().maxMemory() >> 20),
                    e);
        }
    }

    @Override
    public synchronized void onClose(Runnable release) {
        releases.add(release);
    }

    @Override
    public synchronized long bytes() {
        return bytes;
    }

    @Override
    public long available() {
        Runtime runtime = Runtime.getRuntime();
        runtime.gc(); // garbage would count as used
        return runtime.maxMemory() - (runtime.totalMemory() - runtime.freeMemory());
    }

    @Override
    public synchronized void close() {
        for (int i = releases.size() - 1; i >= 0; i--) {
            releases.get(i).run();
        }
        releases.clear();
        memory.add(-bytes);
        bytes = 0;
    }
}
