package io.github.drakegpt.tensor;

/** An allocation that exceeds a device's memory; the message says how much was asked for and what to do. */
public final class OutOfMemoryException extends RuntimeException {
    private static final long serialVersionUID = 1;

    public OutOfMemoryException(String message, Throwable cause) {
        super(message, cause);
    }
}
