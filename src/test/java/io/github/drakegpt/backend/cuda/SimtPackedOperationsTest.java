package io.github.drakegpt.backend.cuda;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;

/** 8-bit rows and products with packed weights, on the SIMT driver. */
@Tag("simt")
@Tag("ptx")
class SimtPackedOperationsTest extends CudaPackedOperations {
    private CudaBackend backend;

    @BeforeAll
    void open() {
        backend = Simt.open();
    }

    @Override
    protected CudaBackend backend() {
        return backend;
    }
}
