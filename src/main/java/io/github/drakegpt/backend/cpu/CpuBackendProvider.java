package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.BackendProvider;
import io.github.drakegpt.tensor.Precision;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/** The CPU, a device that every machine has. */
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
        facts.put("Kernels", KernelsChoice.get().descriptionAndMend());
        return facts;
    }

    @Override
    public Backend create(BackendOptions options) {
        if (options.precision() == Precision.TF32) {
            throw new IllegalArgumentException(
                    "The CPU computes in fp32 or bf16, not in tf32; choose one of those, or a GPU.");
        }
        return new CpuBackend(options.threads(), options.precision(), KernelsChoice.get());
    }
}
