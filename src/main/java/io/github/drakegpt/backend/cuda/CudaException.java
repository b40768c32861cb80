package io.github.drakegpt.backend.cuda;

/** A call to CUDA that failed: the message names CUDA's error and, where a kernel can be the cause, the kernel. */
public final class CudaException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final String error;

    /** @param error CUDA's name for it, such as {@code CUDA_ERROR_ILLEGAL_ADDRESS} */
    CudaException(String error, String message) {
        super(message);
        this.error = error;
    }

    /** CUDA's name for the error, such as {@code CUDA_ERROR_ILLEGAL_ADDRESS}. */
    public String error() {
        return error;
    }
}
