package io.github.drakegpt.backend.cuda;

import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** NVIDIA's cuDNN, where it is installed. */
@Tag("gpu")
class GpuLibraryOperationsTest {
    @Test
    void cudnnDoesTheSame() {
        try (CudaBackend backend = Gpu.open()) {
            Assumptions.assumeTrue(CudaLibraries.cudnnUsable(), "cuDNN was not found (doctor shows where from)");
            LibraryOperationsCheck.run(backend);
        }
    }
}
