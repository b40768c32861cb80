package io.github.drakegpt.backend.cuda;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;

/** On a GPU. */
@Tag("gpu")
class GpuFusedOperationsTest extends FusedOperations {
    @BeforeAll
    static void requireGpu() {
        Gpu.require();
    }

    @Override
    CudaBackend openFusing() {
        return Gpu.open(true);
    }
}
