package io.github.drakegpt.tensor;

/** An allocation that exceeds a device's memory; the message says how much was asked for and what to do. */
public final class OutOfMemoryException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /**
     * An exception with its message.
     *
     * @param message what was asked for, and what to do
     * @param cause or null
     */
    public OutOfMemoryException(String message, Throwable cause) {
        super(message, cause);
    }
}
