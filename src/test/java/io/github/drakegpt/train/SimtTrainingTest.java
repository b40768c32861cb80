package io.github.drakegpt.train;

import io.github.drakegpt.backend.cuda.Simt;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;

/** Training through JCuda, on the SIMT driver. */
@Tag("simt")
class SimtTrainingTest extends DeviceTraining {
    SimtTrainingTest() {
        super("simt");
    }

    @BeforeAll
    static void build() {
        Simt.build();
    }
}
