package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.DeviceException;

/** A call to CUDA that failed: the message names CUDA's error and, where a kernel can be the cause, the kernel. */
public final class CudaException extends DeviceException {
    private static final long serialVersionUID = 1;

    private final String error;

    /**
     * @param error CUDA's name for it, such as {@code CUDA_ERROR_ILLEGAL_ADDRESS}
     * @param lost whether the backend is unusable from now on
     */
    CudaException(String error, boolean lost, String message) {
        super(message, lost);
        this.error = error;
    }

    /** CUDA's name for the error, such as {@code CUDA_ERROR_ILLEGAL_ADDRESS}. */
    public String error() {
        return error;
    }
}
