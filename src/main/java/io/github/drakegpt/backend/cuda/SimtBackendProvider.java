package io.github.drakegpt.backend.cuda;

/** The kernels of the GPU on the CPU, slowly: for tests, and only when asked for by name. */
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
