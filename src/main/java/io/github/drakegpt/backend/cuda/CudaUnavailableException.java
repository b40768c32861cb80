package io.github.drakegpt.backend.cuda;

/** CUDA cannot be used on this machine; the message says in one sentence why, and how to fix that. */
public final class CudaUnavailableException extends RuntimeException {
    CudaUnavailableException(String message) {
        super(message);
    }

    CudaUnavailableException(String message, Throwable cause) {
        super(message, cause);
    }
}
