package io.github.drakegpt.data;

import java.io.IOException;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import java.util.UUID;

/** The text behind a web address, read as {@link TextSource} reads a file. */
public final class UrlSource {
    private final URI uri;

    /**
     * An address.
     *
     * @throws IllegalArgumentException if it is not a plain http or https address
     */
    public UrlSource(String address) {
        try {
            uri = new URI(address);
        } catch (URISyntaxException e) {
            throw new IllegalArgumentException(
                    "The address given to --source is malformed (" + e.getReason() + "); copy it from a browser.", e);
        }
        String scheme = uri.getScheme().toLowerCase(Locale.ROOT);
        if (!scheme.equals("http") && !scheme.equals("https")) {
            throw new IllegalArgumentException("--source cannot read " + scheme
                    + " addresses; give sample, kaggle, a file, or an http or https address.");
        }
        if (!Downloader.hasHost(uri) || uri.getUserInfo() != null) {
            throw new IllegalArgumentException("The address given to --source has no plain host name and port; copy it"
                    + " from a browser, without a user name and password.");
        }
    }

    /** The address without its query, which may hold a secret. */
    public String shown() {
        return Downloader.shown(uri);
    }

    /** The last part of the address, such as {@code lyrics.csv}; the host if it has none. */
    public String fileName() {
        String path = uri.getPath() == null ? "" : uri.getPath();
        String last = path.substring(path.lastIndexOf('/') + 1);
        return last.isEmpty() ? uri.getHost() : last;
    }

    /**
     * Downloads and reads it. A download that broke off is continued by the next call with the same cache.
     *
     * @param column as for {@link TextSource#read}
     * @param cache the folder for the unfinished download, made if it is not there and removed when it is empty again
     * @param maxMegabytes the largest file that is taken
     * @return the text, and whether it is from a CSV file
     * @throws IOException if it cannot be downloaded or read; the message is a sentence
     */
    public Text read(String column, Path cache, int maxMegabytes, DownloadListener listener) throws IOException {
        Files.createDirectories(cache);
        String key = UUID.nameUUIDFromBytes(uri.toString().getBytes(StandardCharsets.UTF_8))
                .toString();
        Path file = cache.resolve(key + ".download");
        try {
            Optional<String> type = new Downloader(maxMegabytes, listener).download(uri, Optional.empty(), file);
            boolean csv = TextSource.isCsv(fileName())
                    || type.filter(t -> t.toLowerCase(Locale.ROOT).startsWith("text/csv"))
                            .isPresent();
            return new Text(TextSource.read(file, csv, shown(), column), csv);
        } finally {
            Files.deleteIfExists(file);
            new DownloadCache(cache).removeIfEmpty();
        }
    }

    /** A text and whether it was a column of a CSV file. */
    public record Text(String text, boolean csv) {}
}
