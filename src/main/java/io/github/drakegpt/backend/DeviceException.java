package io.github.drakegpt.backend;

/** A device did not do what it was asked to; the message says what went wrong and what to do. */
public abstract class DeviceException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final boolean lost;

    /** @param lost whether nothing can be done any more with the backend whose call it was */
    protected DeviceException(String message, boolean lost) {
        super(message);
        this.lost = lost;
    }

    /**
     * Whether the backend whose call it was is of no use any more: each later call fails alike, and it can only be closed. After
     * other errors, a product that a library refuses for one, it goes on.
     */
    public final boolean lost() {
        return lost;
    }
}
