package io.github.drakegpt.data;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.CodeSource;
import java.util.Optional;

/**
 * Finds the files that come with the project ({@code data/sample}, {@code data/pretrained}): first in the working
 * directory, then in the project's home. Home is the system property {@code drakegpt.home}, or else the nearest folder
 * above the running jar that has the bundled lyrics.
 */
public final class ProjectHome {
    /** The bundled lyrics, relative to home. */
    public static final String SAMPLE = "data/sample/lyrics.csv";

    private ProjectHome() {}

    /**
     * Finds a file or folder.
     *
     * @param relative a path with slashes, such as {@code data/pretrained/transformer}
     */
    public static Optional<Path> find(String relative) {
        return find(relative, Path.of(""), home());
    }

    /**
     * Like {@link #find}, for a file that must exist.
     *
     * @throws IOException if it is not; the message says how to name the project's home
     */
    public static Path require(String relative) throws IOException {
        return find(relative)
                .orElseThrow(() -> new IOException(relative + " is neither in the working directory nor in the"
                        + " project's folder; run from the project's folder, or start Java with"
                        + " -Ddrakegpt.home=FOLDER."));
    }

    static Optional<Path> find(String relative, Path workingDirectory, Optional<Path> home) {
        Path here = workingDirectory.resolve(relative);
        if (Files.exists(here)) {
            return Optional.of(here);
        }
        return home.map(folder -> folder.resolve(relative)).filter(Files::exists);
    }

    /** The nearest folder at or above {@code start} that has the bundled lyrics. */
    static Optional<Path> above(Path start) {
        for (Path folder = start; folder != null; folder = folder.getParent()) {
            if (Files.exists(folder.resolve(SAMPLE))) {
                return Optional.of(folder);
            }
        }
        return Optional.empty();
    }

    private static Optional<Path> home() {
        String given = System.getProperty("drakegpt.home");
        if (given != null) {
            return Optional.of(Path.of(given));
        }
        CodeSource source = ProjectHome.class.getProtectionDomain().getCodeSource();
        if (source == null) {
            return Optional.empty();
        }
        try {
            return above(Path.of(source.getLocation().toURI()));
        } catch (URISyntaxException e) {
            throw new IllegalStateException("The class path has an entry that is no URI: " + source.getLocation(), e);
        }
    }
}
