package io.github.drakegpt.backend;

/** An error of a device; the message says what went wrong and what to do. */
public abstract class DeviceException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final boolean lost;

    /** @param lost whether the backend is unusable from now on */
    protected DeviceException(String message, boolean lost) {
        super(message);
        this.lost = lost;
    }

    /**
     * Whether the backend is unusable from now on: each later call fails alike, and it can only be closed. After other
     * errors, such as a product that a library refuses, it continues.
     */
    public final boolean lost() {
        return lost;
    }
}
