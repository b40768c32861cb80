package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.tensor.Precision;
import java.util.Optional;
import org.junit.jupiter.api.Assumptions;

/** The GPU for tests, which are skipped where there is none. */
public final class Gpu {
    private static final Optional<String> OBSTACLE = obstacle();

    private Gpu() {}

    /** Why there is none, said once: of a skipped test the build shows no more than the number. */
    private static Optional<String> obstacle() {
        Optional<String> obstacle = new CudaBackendProvider().obstacle();
        obstacle.ifPresent(reason -> System.out.println("Tests on a GPU are skipped: " + reason));
        return obstacle;
    }

    /** Skips the calling test unless the device cuda can be used. */
    public static void require() {
        System.setProperty(CudaBackend.STRICT, "true");
        Assumptions.assumeTrue(OBSTACLE.isEmpty(), () -> "no GPU: " + OBSTACLE.orElseThrow());
    }

    /** A backend on the first GPU that launches operations of recorded work together. */
    static CudaBackend open() {
        return open(true);
    }

    /** The same, or one that launches each operation by itself. */
    public static CudaBackend open(boolean fuse) {
        return open(new BackendOptions(1, Precision.FP32, fuse));
    }

    static CudaBackend open(BackendOptions options) {
        require();
        return CudaBackend.open(CudaLibraries.load(CudaLibraries.Driver.NVIDIA), 0, options);
    }
}
