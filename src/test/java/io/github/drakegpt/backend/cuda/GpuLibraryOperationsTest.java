package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assumptions.assumeThat;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** NVIDIA's cuDNN, where it is installed. */
@Tag("gpu")
class GpuLibraryOperationsTest {
    @Test
    void cudnnDoesTheSame() {
        try (CudaBackend backend = Gpu.open()) {
            assumeThat(CudaLibraries.cudnnUsable())
                    .as("cuDNN was found (doctor shows where from)")
                    .isTrue();
            LibraryOperationsCheck.run(backend);
        }
    }
}
