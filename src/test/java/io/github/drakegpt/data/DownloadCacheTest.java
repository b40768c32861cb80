package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DownloadCacheTest {
    @TempDir
    Path folder;

    @Test
    void removesOnlyDownloads() throws IOException {
        Path path = Files.createDirectories(folder.resolve(".kaggle"));
        for (String name : new String[] {"a.zip", "b.zip.part", "b.zip.part.etag", "c.download.part", "mine.txt"}) {
            Files.writeString(path.resolve(name), "x");
        }
        DownloadCache cache = new DownloadCache(path);

        assertThat(cache.files()).hasSize(4);
        assertThat(cache.remove()).isFalse();
        assertThat(path.resolve("mine.txt")).exists();
        Files.delete(path.resolve("mine.txt"));
        assertThat(cache.remove()).isTrue();
        assertThat(cache.files()).isEmpty();
    }

    @Test
    void doesNotFollowALink() throws IOException {
        Path other = Files.createDirectories(folder.resolve("other"));
        Files.writeString(other.resolve("a.zip"), "x");
        Path link = Files.createSymbolicLink(folder.resolve(".kaggle"), other);

        assertThat(new DownloadCache(link).files()).isEmpty();
    }
}
