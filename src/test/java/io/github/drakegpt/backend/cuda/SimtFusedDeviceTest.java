package io.github.drakegpt.backend.cuda;

import org.junit.jupiter.api.Tag;

/** On the SIMT driver, with operations launched together. */
@Tag("simt")
class SimtFusedDeviceTest extends DeviceLayer {
    @Override
    CudaBackend newBackend() {
        return Simt.open(true);
    }
}
