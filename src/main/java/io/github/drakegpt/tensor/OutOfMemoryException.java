package io.github.drakegpt.tensor;

/** A device has less memory than was asked for; the message says how much that was and what to do. */
public final class OutOfMemoryException extends RuntimeException {
    private static final long serialVersionUID = 1;

    public OutOfMemoryException(String message, Throwable cause) {
        super(message, cause);
    }
}
