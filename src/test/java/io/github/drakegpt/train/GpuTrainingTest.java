package io.github.drakegpt.train;

import io.github.drakegpt.backend.cuda.Gpu;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;

/** Training on a GPU. */
@Tag("gpu")
class GpuTrainingTest extends DeviceTraining {
    GpuTrainingTest() {
        super("cuda", 32, 200);
    }

    @BeforeAll
    static void requireGpu() {
        Gpu.require();
    }
}
