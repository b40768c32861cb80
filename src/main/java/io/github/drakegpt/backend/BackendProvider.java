package io.github.drakegpt.backend;

import java.io.IOException;
import java.util.Map;
import java.util.Optional;

/** Makes a backend; found through {@link java.util.ServiceLoader}. */
public interface BackendProvider {
    /** The name that selects it: {@code cpu}. */
    String name();

    /**
     * Priority: {@code auto} selects the usable backend with the highest rank, and never one with a negative rank,
     * which is for tests.
     */
    int rank();

    /**
     * Whether a quick look finds any sign of the device on this machine. If not, its absence is not worth a message.
     */
    default boolean isPresent() {
        return true;
    }

    /** The reason why it cannot be used on this machine, and how to fix that, in one sentence; empty if it can. */
    Optional<String> obstacle();

    /**
     * Facts about the device and its libraries on this machine: names and values, in the order in which to show them.
     *
     * @throws IOException if something cannot be found out
     */
    Map<String, String> facts() throws IOException;

    /**
     * Makes the backend.
     *
     * @throws IllegalArgumentException if the device does not support the options
     */
    Backend create(BackendOptions options);
}
