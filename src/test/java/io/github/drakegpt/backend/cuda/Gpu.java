package io.github.drakegpt.backend.cuda;

import java.util.Optional;
import org.junit.jupiter.api.Assumptions;

/** The GPU for tests, which are skipped where there is none. */
public final class Gpu {
    private Gpu() {}

    /** Skips the calling test unless the device cuda can be used. */
    public static void require() {
        Optional<String> obstacle = new CudaBackendProvider().obstacle();
        obstacle.ifPresent(reason -> System.out.println("Tests on a GPU are skipped: " + reason));
        Assumptions.assumeTrue(obstacle.isEmpty(), () -> "no GPU: " + obstacle.orElseThrow());
    }

    /** A backend on the first GPU. */
    static CudaBackend open() {
        require();
        return new CudaBackend(CudaLibraries.load(CudaLibraries.Driver.NVIDIA), 0);
    }
}
