package io.github.drakegpt.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** The folder of complete and unfinished downloads, {@code data/.kaggle}. */
public final class DownloadCache {
    /** The cache's name in the data folder. */
    public static final String NAME = ".kaggle";

    private static final Pattern OURS = Pattern.compile(".+\\.(zip|download)(\\.part(\\.etag)?)?");

    private final Path path;

    /** A cache, whether it exists or not. */
    public DownloadCache(Path path) {
        this.path = path;
    }

    /** Where it is. */
    public Path path() {
        return path;
    }

    /** The downloads in it; none if the folder does not exist. Links and files that no download made are left out. */
    public List<Path> files() throws IOException {
        if (!Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS)) {
            return List.of();
        }
        try (Stream<Path> entries = Files.list(path)) {
            return entries.filter(
                            file -> OURS.matcher(file.getFileName().toString()).matches())
                    .filter(file -> Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS))
                    .sorted()
                    .toList();
        }
    }

    /**
     * Removes the downloads, and the folder if nothing else is in it.
     *
     * @return whether the folder is gone
     */
    public boolean remove() throws IOException {
        for (Path file : files()) {
            Files.delete(file);
        }
        return removeIfEmpty();
    }

    boolean removeIfEmpty() throws IOException {
        try (Stream<Path> entries = Files.list(path)) {
            if (entries.findAny().isPresent()) {
                return false;
            }
        }
        Files.delete(path);
        return true;
    }
}
