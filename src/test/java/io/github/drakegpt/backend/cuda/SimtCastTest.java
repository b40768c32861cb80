package io.github.drakegpt.backend.cuda;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;

/** The casts on the SIMT driver. */
@Tag("simt")
@Tag("ptx")
class SimtCastTest extends CastOperations {
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
