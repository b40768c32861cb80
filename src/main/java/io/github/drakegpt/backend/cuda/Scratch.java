package io.github.drakegpt.backend.cuda;

import java.util.ArrayList;
import java.util.List;
import jcuda.driver.CUdeviceptr;

/** Device memory for one operation at a time. Its address changes only when it grows. */
final class Scratch {
    private final CudaContext context;
    private final List<CUdeviceptr> memories = new ArrayList<>();
    private long bytes;

    Scratch(CudaContext context) {
        this.context = context;
    }

    /** At least so many bytes, of undefined content. */
    CUdeviceptr of(long wanted) {
        if (bytes < wanted) {
            long larger = Math.max(wanted, 2 * bytes);
            // smaller ones are kept, since recorded work may use them
            memories.add(context.allocate(larger, "intermediate results"));
            bytes = larger;
        }
        return memories.get(memories.size() - 1);
    }

    void free() {
        memories.forEach(context::free);
    }
}
