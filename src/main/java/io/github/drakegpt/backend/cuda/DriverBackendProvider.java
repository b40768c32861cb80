package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.BackendProvider;
import io.github.drakegpt.backend.cuda.CudaLibraries.Driver;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/** A provider of the CUDA backend over one of the drivers. */
abstract class DriverBackendProvider implements BackendProvider {
    private static final String NO_JCUDA =
            "JCuda is missing; put org.jcuda:jcuda, jcublas and jcudnn, and their natives for"
                    + " linux-x86_64, on the class path or the module path.";

    private final Driver driver;

    DriverBackendProvider(Driver driver) {
        this.driver = driver;
    }

    @Override
    public final boolean isPresent() {
        return CudaLibraries.find(driver).isPresent();
    }

    /** Whether a program that embeds the library has JCuda, which is optional. */
    private static boolean hasJCuda() {
        try {
            Class.forName("jcuda.driver.JCudaDriver", false, DriverBackendProvider.class.getClassLoader());
            return true;
        } catch (ClassNotFoundException e) {
            return false;
        }
    }

    @Override
    public final Optional<String> obstacle() {
        if (!hasJCuda()) {
            return Optional.of(NO_JCUDA);
        }
        try {
            libraries();
            return Optional.empty();
        } catch (CudaUnavailableException e) {
            return Optional.of(e.getMessage());
        }
    }

    @Override
    public final Map<String, String> facts() {
        Map<String, String> facts = new LinkedHashMap<>();
        if (!hasJCuda()) {
            return facts;
        }
        try {
            facts.putAll(CudaLibraries.load(driver).facts());
            for (CudaProbe.Device device : CudaProbe.devices()) {
                facts.put("GPU " + device.index(), device.description());
                facts.put("GPU " + device.index() + " memory", memory(device.index()));
            }
        } catch (CudaUnavailableException e) {
            // The obstacle says what is missing; facts are about the rest.
        }
        return facts;
    }

    private static String memory(int device) {
        try {
            return CudaProbe.memory(device);
        } catch (CudaUnavailableException e) {
            return "unknown: " + e.getMessage();
        }
    }

    @Override
    public final Backend create(BackendOptions options) {
        return CudaBackend.open(libraries(), 0, options);
    }

    /** The libraries, if all that are needed were found. */
    private CudaLibraries libraries() {
        CudaLibraries libraries = CudaLibraries.load(driver);
        CudaProbe.devices().get(0).obstacle().ifPresent(DriverBackendProvider::refuse);
        libraries.obstacle().ifPresent(DriverBackendProvider::refuse);
        return libraries;
    }

    private static void refuse(String obstacle) {
        throw new CudaUnavailableException(obstacle);
    }
}
