package io.github.drakegpt.train;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.cuda.Gpu;
import org.junit.jupiter.api.Tag;

/** On a GPU. */
@Tag("gpu")
class GpuFusedTrainingTest extends FusedTraining {
    @Override
    Backend open(boolean fuse) {
        return Gpu.open(fuse);
    }
}
