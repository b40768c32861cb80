package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Bf16Operations;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;

/** Every operation through JCuda, on the SIMT driver. */
@Tag("simt")
@Tag("ptx")
class SimtBf16OperationsTest extends Bf16Operations {
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
