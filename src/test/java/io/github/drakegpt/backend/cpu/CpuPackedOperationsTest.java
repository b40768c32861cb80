package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.PackedOperations;

/** Products with packed weights on the CPU. */
class CpuPackedOperationsTest extends PackedOperations {
    private final Backend backend = new CpuBackend(2);

    @Override
    protected Backend backend() {
        return backend;
    }
}
