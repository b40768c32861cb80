package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendProvider;
import java.util.Optional;

/** The CPU: the device that is always there. */
public final class CpuBackendProvider implements BackendProvider {
    @Override
    public String name() {
        return "cpu";
    }

    @Override
    public int rank() {
        return 0;
    }

    @Override
    public Optional<String> obstacle() {
        return Optional.empty();
    }

    @Override
    public Backend create(int threads) {
        return new CpuBackend(threads);
    }
}
