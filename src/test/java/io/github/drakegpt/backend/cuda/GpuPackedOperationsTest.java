package io.github.drakegpt.backend.cuda;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;

/** 8-bit rows and products with packed weights, on a GPU. */
@Tag("gpu")
class GpuPackedOperationsTest extends CudaPackedOperations {
    private CudaBackend backend;

    @BeforeAll
    void open() {
        backend = Gpu.open();
    }

    @Override
    protected CudaBackend backend() {
        return backend;
    }
}
