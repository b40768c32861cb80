package io.github.drakegpt.backend.cuda;

import org.junit.jupiter.api.Tag;

/** On a GPU. */
@Tag("gpu")
class GpuFusedOperationsTest extends FusedOperations {
    @Override
    CudaBackend openFusing() {
        return Gpu.open(true);
    }
}
