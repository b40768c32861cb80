package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendProvider;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
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
    public Map<String, String> facts() throws IOException {
        Map<String, String> facts = new LinkedHashMap<>();
        facts.put("OpenBLAS", OpenBlas.description());
        facts.put("OpenBLAS kernel", OpenBlas.kernel());
        facts.put("Packed products", PackedKernelsChoice.get().description());
        return facts;
    }

    @Override
    public Backend create(int threads) {
        return new CpuBackend(threads);
    }
}
