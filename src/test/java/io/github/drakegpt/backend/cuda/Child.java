package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.BackendProvider;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.profile.KernelBenchmark;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Precision;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import jcuda.driver.JCudaDriver;

/** What tests start in a JVM of its own: loading a driver binds a process. */
final class Child {
    private static final Map<String, BackendProvider> PROVIDERS =
            Map.of("cuda", new CudaBackendProvider(), "simt", new SimtBackendProvider());

    private Child() {}

    /**
     * Prints what the named providers say, in that order; {@code exceptions} switches JCuda to exceptions, {@code library}
     * checks the operations of cuDNN, {@code bench-} and a precision says which operations of libraries are timed.
     */
    public static void main(String[] args) throws IOException {
        String temporary = System.getProperty("java.io.tmpdir");
        for (String name : List.of(args)) {
            if (name.equals("exceptions")) {
                PROVIDERS.get("cuda").obstacle(); // loads JCuda's libraries
                JCudaDriver.setExceptionsEnabled(true);
            } else if (name.equals("library")) {
                try (Backend backend = PROVIDERS.get("cuda").create(BackendOptions.ofThreads(1))) {
                    LibraryOperationsCheck.run((CudaBackend) backend);
                }
            } else if (name.startsWith("bench-")) {
                ModelConfig model = new ModelConfig(
                        Models.SINGLE_HEAD, 9, 4, 8, 8, 1, 1, 0, false, Init.PYTORCH, Quantization.NONE, false);
                BackendOptions options = new BackendOptions(1, Precision.of(name.substring(6)), true);
                try (Backend backend = PROVIDERS.get("cuda").create(options)) {
                    KernelBenchmark.run(backend, model, 2, 1e-3, result -> {
                        if (result.subject().by() != null) {
                            System.out.println(result.subject().operation() + " by "
                                    + result.subject().by());
                        }
                    });
                }
            } else {
                BackendProvider provider = PROVIDERS.get(name);
                System.out.println(name + ": " + provider.obstacle().orElse("usable"));
                provider.facts().forEach((fact, value) -> System.out.println(fact + ": " + value));
            }
        }
        if (!System.getProperty("java.io.tmpdir").equals(temporary)) {
            System.out.println("java.io.tmpdir was not restored");
        }
    }
}
