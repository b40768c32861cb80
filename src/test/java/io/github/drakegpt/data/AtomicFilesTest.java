package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AtomicFilesTest {
    @TempDir
    Path folder;

    @Test
    void writesInPlaceOfWhatIsThere() throws IOException {
        Path file = folder.resolve("a.bin");
        AtomicFiles.write(file, new byte[] {1, 2, 3});
        AtomicFiles.write(file, out -> {
            for (int i = 0; i < 200_000; i++) {
                out.write(i);
            }
        });

        byte[] bytes = Files.readAllBytes(file);
        assertThat(bytes).hasSize(200_000);
        assertThat(bytes[199_999]).isEqualTo((byte) 199_999);
        assertThat(names()).containsExactly("a.bin");
    }

    @Test
    void aFullDiskLeavesTheOldFileAndNothingElse() throws IOException {
        Path file = folder.resolve("a.bin");
        AtomicFiles.write(file, new byte[] {1});

        assertThatThrownBy(() -> AtomicFiles.write(file, out -> {
                    out.write(new byte[100_000]);
                    throw new IOException("No space left on device");
                }))
                .isInstanceOf(IOException.class)
                .hasMessageStartingWith("Could not write " + file + ": No space left on device;");
        assertThat(Files.readAllBytes(file)).containsExactly(1);
        assertThat(names()).containsExactly("a.bin");
    }

    @Test
    void ofSeveralFilesNoneChangesIfOneFails() throws IOException {
        Path first = folder.resolve("first");
        AtomicFiles.write(first, new byte[] {1});
        Map<String, AtomicFiles.Content> files = new LinkedHashMap<>();
        files.put("first", out -> out.write(2));
        files.put("second", out -> {
            throw new IllegalStateException("bug");
        });

        try (Folder open = Folder.open(folder)) {
            assertThatThrownBy(() -> AtomicFiles.writeAll(open, files)).isInstanceOf(IllegalStateException.class);
        }
        assertThat(Files.readAllBytes(first)).containsExactly(1);
        assertThat(names()).containsExactly("first");
    }

    @Test
    void errorsNameWhatTheUserKnows() {
        Path file = folder.resolve("a.bin");
        assertThatThrownBy(() -> AtomicFiles.write(file, out -> {
                    throw new AccessDeniedException("some temporary name");
                }))
                .isInstanceOf(AccessDeniedException.class)
                .hasMessage(folder.toString());
        Path orphan = folder.resolve("missing/a.bin");
        assertThatThrownBy(() -> AtomicFiles.write(orphan, new byte[1]))
                .hasMessageStartingWith("Could not write " + orphan + ": its folder does not exist;");
    }

    @Test
    void writesToThePathOfABareName() throws IOException {
        Path file = Path.of("AtomicFilesTest.tmp");
        try {
            AtomicFiles.write(file, new byte[] {7});
            assertThat(Files.readAllBytes(file)).containsExactly(7);
        } finally {
            Files.deleteIfExists(file);
        }
    }

    @Test
    void knowsItsOwnLeftovers() {
        Set<String> names = Set.of("train.bin");
        assertThat(AtomicFiles.isLeftover(".train.bin.0123abcd.tmp", names)).isTrue();
        assertThat(AtomicFiles.isLeftover(".other.bin.0123abcd.tmp", names)).isFalse();
        assertThat(AtomicFiles.isLeftover("train.bin", names)).isFalse();
    }

    private Stream<String> names() throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(file -> file.getFileName().toString()).toList().stream();
        }
    }
}
