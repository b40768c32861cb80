package io.github.drakegpt.backend.cuda;

import org.junit.jupiter.api.Tag;

/** On the SIMT driver, which sees races in shared memory. */
@Tag("simt")
@Tag("ptx")
class SimtFusedOperationsTest extends FusedOperations {
    @Override
    CudaBackend openFusing() {
        return Simt.open(true);
    }
}
