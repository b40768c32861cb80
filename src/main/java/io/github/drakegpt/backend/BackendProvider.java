package io.github.drakegpt.backend;

import java.util.Optional;

/** Makes a backend; found through {@link java.util.ServiceLoader}. */
public interface BackendProvider {
    /** The name that selects it: {@code cpu}. */
    String name();

    /** Among the backends that can be used here, {@code auto} takes the one with the highest rank. */
    int rank();

    /** Why it cannot be used on this machine and what would mend that, in one sentence; empty if it can. */
    Optional<String> obstacle();

    /**
     * Makes the backend.
     *
     * @param threads CPU threads to use
     */
    Backend create(int threads);
}
