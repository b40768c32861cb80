package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOperations;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;

/** Every operation on a GPU. */
@Tag("gpu")
class GpuOperationsTest extends BackendOperations {
    private Backend backend;

    @BeforeAll
    void open() {
        backend = Gpu.open();
    }

    @Override
    protected Backend backend() {
        return backend;
    }
}
