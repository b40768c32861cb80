package io.github.drakegpt.backend.cuda;

import java.util.ArrayList;
import java.util.List;
import jcuda.driver.CUdeviceptr;

/** Device memory that an operation uses until it is done. It lies still while it is large enough. */
final class Scratch {
    private final CudaContext context;
    private final List<CUdeviceptr> memories = new ArrayList<>();
    private long bytes;

    Scratch(CudaContext context) {
        this.context = context;
    }

    /** Of so many bytes at least; what it held is lost. */
    CUdeviceptr of(long wanted) {
        if (bytes < wanted) {
            long larger = Math.max(wanted, 2 * bytes);
            // the smaller ones stay: what is recorded may use them
            memories.add(context.allocate(larger, "intermediate results"));
            bytes = larger;
        }
        return memories.get(memories.size() - 1);
    }

    void free() {
        memories.forEach(context::free);
    }
}
