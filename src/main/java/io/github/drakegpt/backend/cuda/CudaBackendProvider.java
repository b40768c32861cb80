package io.github.drakegpt.backend.cuda;

/** An NVIDIA GPU: the first of those that {@code CUDA_VISIBLE_DEVICES} leaves visible. */
public final class CudaBackendProvider extends DriverBackendProvider {
    /** For the {@link java.util.ServiceLoader}. */
    public CudaBackendProvider() {
        super(CudaLibraries.Driver.NVIDIA);
    }

    @Override
    public String name() {
        return "cuda";
    }

    @Override
    public int rank() {
        return 100;
    }
}
