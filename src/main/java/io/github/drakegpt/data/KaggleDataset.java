package io.github.drakegpt.data;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;

/**
 * The song lyrics on Kaggle (deepshah16/song-lyrics-dataset): a zip file with one CSV file for each artist. It is
 * downloaded once and kept, so that the next artist needs no download.
 */
public final class KaggleDataset {
    /** Kaggle itself. */
    public static final URI SITE = URI.create("https://www.kaggle.com");

    private static final String DATASET = "deepshah16/song-lyrics-dataset";
    private static final int NAMED_IN_ERROR = 5;

    private final URI site;
    private final Path cache;
    private final Map<String, String> environment;
    private final Path home;

    /**
     * The dataset on a site.
     *
     * @param site {@link #SITE}; tests give their own
     * @param cache the folder that keeps the zip file, made if it is not there
     * @param environment the environment variables, for the Kaggle token
     * @param home the user's home folder, for the Kaggle token
     */
    public KaggleDataset(URI site, Path cache, Map<String, String> environment, Path home) {
        this.site = site;
        this.cache = cache;
        this.environment = environment;
        this.home = home;
    }

    /**
     * The lyrics of one artist.
     *
     * @param artist as the dataset names its files ({@code Drake}); case, spaces and punctuation do not matter
     * @param column the CSV column, normally {@link TextSource#LYRIC_COLUMN}
     * @param maxMegabytes the largest archive that is downloaded
     * @throws IOException if there is no token, the download fails, the zip file is damaged (it is then removed), or it
     *     has no such artist; the message is a sentence
     */
    public String lyrics(String artist, String column, int maxMegabytes, DownloadListener listener) throws IOException {
        Path zip = cache.resolve("song-lyrics-dataset.zip");
        if (!Files.exists(zip)) {
            download(zip, maxMegabytes, listener);
        }
        ZipEntry entry;
        byte[] csv;
        try (SafeZip archive = new SafeZip(zip, SafeZip.Limits.LYRICS)) {
            entry = find(artist, archive);
            csv = archive.read(entry);
        } catch (ZipException e) {
            Files.delete(zip);
            throw new IOException(
                    "The archive from Kaggle is damaged or unsafe (" + e.getMessage()
                            + ") and was removed; run the same command again to download it anew.",
                    e);
        }
        return TextSource.read(new ByteArrayInputStream(csv), true, zip + "/" + entry.getName(), column);
    }

    private void download(Path zip, int maxMegabytes, DownloadListener listener) throws IOException {
        KaggleCredentials credentials = KaggleCredentials.find(environment, home);
        Files.createDirectories(cache);
        try {
            new Downloader(maxMegabytes, listener)
                    .download(
                            site.resolve("/api/v1/datasets/download/" + DATASET),
                            Optional.of(credentials.authorization()),
                            zip);
        } catch (HttpStatusException e) {
            throw Downloader.sameOrigin(site, e.uri()) ? refused(e, credentials.username()) : e;
        } finally {
            new DownloadCache(cache).removeIfEmpty();
        }
    }

    private static IOException refused(HttpStatusException e, String username) {
        return switch (e.status()) {
            case 401 ->
                new IOException(
                        "Kaggle does not accept the token of " + username + " (HTTP 401): " + KaggleCredentials.HOW_TO
                                + ".",
                        e);
            case 403 ->
                new IOException(
                        "Kaggle does not give the dataset to " + username + " (HTTP 403); make a new token, and look at"
                                + " kaggle.com/datasets/" + DATASET + " as that user for terms to accept.",
                        e);
            case 404 ->
                new IOException(
                        "Kaggle has no dataset " + DATASET
                                + " any more (HTTP 404); use --source sample, or give a FILE.",
                        e);
            default -> e;
        };
    }

    private static ZipEntry find(String artist, SafeZip archive) throws IOException {
        Map<String, ZipEntry> artists = new TreeMap<>();
        for (ZipEntry entry : archive.entries()) {
            String file = entry.getName().substring(entry.getName().lastIndexOf('/') + 1);
            if (file.toLowerCase(Locale.ROOT).endsWith(".csv")) {
                artists.put(file.substring(0, file.length() - ".csv".length()), entry);
            }
        }
        for (Map.Entry<String, ZipEntry> one : artists.entrySet()) {
            if (plain(one.getKey()).equals(plain(artist))) {
                return one.getValue();
            }
        }
        List<String> nearest = Nearest.names(artist, artists.keySet(), NAMED_IN_ERROR);
        throw new IOException("The dataset has no artist " + artist + "; choose with --artist among its "
                + artists.size() + ", nearest first: " + String.join(", ", nearest) + ".");
    }

    /** {@code Billie Eilish} and {@code BillieEilish} are the same. */
    private static String plain(String name) {
        return name.toLowerCase(Locale.ROOT).replaceAll("[^\\p{L}\\p{N}]", "");
    }
}
