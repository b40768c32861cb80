package io.github.drakegpt.backend.cuda;

/** CUDA cannot be used here; the message says in one sentence why, and what would mend that. */
public final class CudaUnavailableException extends RuntimeException {
    CudaUnavailableException(String message) {
        super(message);
    }

    CudaUnavailableException(String message, Throwable cause) {
        super(message, cause);
    }
}
