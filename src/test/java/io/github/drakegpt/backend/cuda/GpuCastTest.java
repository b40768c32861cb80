package io.github.drakegpt.backend.cuda;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;

/** The casts on a GPU. */
@Tag("gpu")
class GpuCastTest extends CastOperations {
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
