package io.github.drakegpt.backend.cuda;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;

/** Attention of bfloat16 on a GPU. */
@Tag("gpu")
class GpuBf16AttentionTest extends Bf16AttentionOperations {
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
