package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.tensor.Precision;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.function.Supplier;
import org.junit.jupiter.api.Assumptions;

/** The SIMT driver for tests: built once if there is a compiler, else the test is skipped. */
public final class Simt {
    /** What a driver recognizes as PTX, and cannot assemble. */
    public static final String DAMAGED_PTX = """
            .version 8.0
            .target sm_80
            .address_size 64
            this is no PTX
            """;

    private static boolean built;

    private Simt() {}

    /** A backend on the SIMT driver that launches operations of recorded work together. */
    public static CudaBackend open() {
        return open(true);
    }

    /** The same, or one that launches each operation by itself. */
    public static CudaBackend open(boolean fuse) {
        return open(new BackendOptions(1, Precision.FP32, fuse));
    }

    static CudaBackend open(BackendOptions options) {
        build();
        return CudaBackend.open(CudaLibraries.load(CudaLibraries.Driver.SIMT), 0, options);
    }

    /** A backend whose kernels for operations of recorded work are these instead. */
    public static CudaBackend openWithProgram(Supplier<String> ptx) {
        build();
        CudaLibraries.load(CudaLibraries.Driver.SIMT);
        CudaContext context = CudaContext.open(0);
        Kernels kernels =
                new Kernels(context, file -> file.equals(SequenceProgram.FILE) ? ptx.get() : Kernels.compiled(file));
        return new CudaBackend(context, kernels, new BackendOptions(1, Precision.FP32, true));
    }

    /** Builds the driver from what native/simt and kernels hold now. */
    public static synchronized void build() {
        Assumptions.assumeTrue(onPath("g++"), "g++ is not on the PATH: the kernels are not tested");
        System.setProperty(CudaBackend.STRICT, "true");
        if (built) {
            return;
        }
        try {
            Process process = new ProcessBuilder("scripts/build-simt")
                    .redirectErrorStream(true)
                    .start();
            String output = new String(process.getInputStream().readAllBytes());
            if (process.waitFor() != 0) {
                throw new IllegalStateException("scripts/build-simt failed:\n" + output);
            }
            built = true;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    /** Whether a program can be started by its name. */
    public static boolean onPath(String program) {
        return Arrays.stream(System.getenv("PATH").split(":"))
                .anyMatch(folder -> Files.isExecutable(Path.of(folder, program)));
    }
}
