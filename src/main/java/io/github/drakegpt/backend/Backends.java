package io.github.drakegpt.backend;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.ServiceLoader;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Finds the backends, selects one and logs the choice. */
public final class Backends {
    private static final Logger log = LoggerFactory.getLogger(Backends.class);

    private Backends() {}

    /** All providers that this library's class loader sees, the one that {@code auto} prefers first. */
    public static List<BackendProvider> providers() {
        return ServiceLoader.load(BackendProvider.class, Backends.class.getClassLoader()).stream()
                .map(ServiceLoader.Provider::get)
                .sorted(Comparator.comparingInt(BackendProvider::rank).reversed())
                .toList();
    }

    /** The same in float32, on so many threads of a CPU. */
    public static Backend create(String device, int threads) {
        return create(device, BackendOptions.ofThreads(threads));
    }

    /**
     * Makes the backend for a device.
     *
     * @param device {@code auto} or a provider's name
     * @throws IllegalArgumentException if there is no such device, it cannot be used here, or not with these options
     */
    public static Backend create(String device, BackendOptions options) {
        List<BackendProvider> providers = providers();
        List<String> refusals = new ArrayList<>();
        for (BackendProvider provider : providers) {
            boolean chosen = device.equals(provider.name());
            boolean considered = device.equals("auto") && provider.rank() >= 0 && provider.isPresent();
            if (!chosen && !considered) {
                continue;
            }
            Optional<String> obstacle = provider.obstacle();
            if (obstacle.isPresent()) {
                if (chosen) {
                    throw new IllegalArgumentException("The device " + device + " cannot be used: " + obstacle.get());
                }
                log.info("Not using {}: {}", provider.name(), obstacle.get());
                refusals.add(provider.name() + ": " + obstacle.get());
                continue;
            }
            Backend backend;
            try {
                backend = provider.create(options);
            } catch (RuntimeException e) {
                if (chosen) {
                    throw e;
                }
                log.warn("Not using {}: {}", provider.name(), e.getMessage());
                refusals.add(provider.name() + ": " + e.getMessage());
                continue;
            }
            log.info("Device {}: {}", backend.name(), backend.description());
            return backend;
        }
        if (device.equals("auto")) {
            throw new IllegalArgumentException("No device can be used: " + String.join(" ", refusals));
        }
        throw new IllegalArgumentException("There is no device '" + device + "'; choose auto or one of: "
                + providers.stream()
                        .filter(provider -> provider.rank() >= 0)
                        .map(BackendProvider::name)
                        .collect(Collectors.joining(", "))
                + ".");
    }
}
