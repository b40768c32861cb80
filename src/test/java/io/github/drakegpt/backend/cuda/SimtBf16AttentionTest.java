package io.github.drakegpt.backend.cuda;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;

/** Attention of bfloat16 on the SIMT driver. */
@Tag("simt")
@Tag("ptx")
class SimtBf16AttentionTest extends Bf16AttentionOperations {
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
