package io.github.drakegpt.backend.cuda;

/** A call to CUDA that failed: the message names CUDA's error and, where a kernel can be the cause, the kernel. */
public final class CudaException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final String error;
    private final boolean lost;

    /**
     * @param error CUDA's name for it, such as {@code CUDA_ERROR_ILLEGAL_ADDRESS}
     * @param lost whether nothing can be done any more with the backend whose call it was
     */
    CudaException(String error, boolean lost, String message) {
        super(message);
        this.error = error;
        this.lost = lost;
    }

    /** CUDA's name for the error, such as {@code CUDA_ERROR_ILLEGAL_ADDRESS}. */
    public String error() {
        return error;
    }

    /**
     * Whether the backend whose call it was is of no use any more: each later call fails alike, and it can only be closed. After
     * other errors, a product that cuBLAS refuses for one, it goes on.
     */
    public boolean lost() {
        return lost;
    }
}
