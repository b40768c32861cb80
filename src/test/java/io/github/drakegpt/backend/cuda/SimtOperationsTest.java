package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOperations;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;

/** Every operation through JCuda, on the SIMT driver. */
@Tag("simt")
@Tag("ptx")
class SimtOperationsTest extends BackendOperations {
    private Backend backend;

    @BeforeAll
    void open() {
        backend = Simt.open();
    }

    @Override
    protected Backend backend() {
        return backend;
    }
}
