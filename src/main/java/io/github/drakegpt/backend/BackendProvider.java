package io.github.drakegpt.backend;

import java.io.IOException;
import java.util.Map;
import java.util.Optional;

/** Makes a backend; found through {@link java.util.ServiceLoader}. */
public interface BackendProvider {
    /** The name that selects it: {@code cpu}. */
    String name();

    /**
     * Among the backends that can be used here, {@code auto} takes the one with the highest rank. It never takes one with
     * a negative rank: such a backend is there for tests.
     */
    int rank();

    /**
     * Whether there is any sign of the device on this machine, as far as a quick look tells. Where there is none, nobody
     * needs to hear that it is not used.
     */
    default boolean isPresent() {
        return true;
    }

    /** Why it cannot be used on this machine and what would mend that, in one sentence; empty if it can. */
    Optional<String> obstacle();

    /**
     * What there is to know about the device and its libraries on this machine: names and values for people, in the order
     * in which to show them.
     *
     * @throws IOException if something cannot be found out
     */
    Map<String, String> facts() throws IOException;

    /**
     * Makes the backend.
     *
     * @throws IllegalArgumentException if the device cannot do what the options ask for
     */
    Backend create(BackendOptions options);
}
