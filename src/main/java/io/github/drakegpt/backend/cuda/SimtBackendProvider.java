package io.github.drakegpt.backend.cuda;

/** The GPU's kernels on the CPU: slow, for tests, and only selected by name. */
public final class SimtBackendProvider extends DriverBackendProvider {
    /** For the {@link java.util.ServiceLoader}. */
    public SimtBackendProvider() {
        super(CudaLibraries.Driver.SIMT);
    }

    @Override
    public String name() {
        return "simt";
    }

    @Override
    public int rank() {
        return -1;
    }
}
