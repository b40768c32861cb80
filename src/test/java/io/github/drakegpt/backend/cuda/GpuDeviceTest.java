package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.BackendOptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;

/** On a GPU. */
@Tag("gpu")
class GpuDeviceTest extends DeviceLayer {
    @BeforeAll
    static void requireGpu() {
        Gpu.require();
    }

    @Override
    CudaBackend newBackend(BackendOptions options) {
        return Gpu.open(options);
    }
}
