package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FolderTest {
    @TempDir
    Path temp;

    private Path path;

    @BeforeEach
    void nameAFolder() {
        path = temp.resolve("deep/folder");
    }

    @Test
    void filesStayInTheFolderWhateverItsNameIs() throws IOException {
        try (Folder folder = Folder.make(path)) {
            Path moved = Files.move(path, temp.resolve("moved"));
            Files.createDirectory(path);
            AtomicFiles.writeAll(folder, java.util.Map.of("a", out -> out.write(1)));
            write(folder, "b", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
            folder.rename("b", "c");

            assertThat(folder.names()).containsExactly("a", "c");
            assertThat(folder.read("a")).containsExactly(1);
            assertThat(folder.exists("b")).isFalse();
            assertThat(moved.resolve("c")).hasBinaryContent(new byte[] {7});
            folder.delete("c");
            folder.delete("c");
            assertThat(moved.resolve("c")).doesNotExist();
            assertThat(folder.removeIfEmpty()).isFalse();
        }
        assertThat(path).isEmptyDirectory();
        assertThat(temp.resolve("moved").toFile().list()).containsExactly("a");
    }

    @Test
    void nothingIsWrittenThroughLinks() throws IOException {
        Path target = temp.resolve("target");
        try (Folder folder = Folder.make(path)) {
            for (boolean dangling : new boolean[] {true, false}) {
                if (!dangling) {
                    Files.writeString(target, "mine");
                }
                Path link = path.resolve("link" + dangling);
                Files.createSymbolicLink(link, target);

                assertThatThrownBy(() -> write(
                                folder,
                                link.getFileName().toString(),
                                StandardOpenOption.CREATE,
                                StandardOpenOption.APPEND))
                        .isInstanceOf(FileSystemException.class)
                        .hasMessage(link + ": it is a link, and nothing is written through links");
                assertThat(Files.exists(target)).isEqualTo(!dangling);
            }
            AtomicFiles.writeAll(folder, java.util.Map.of("linkfalse", out -> out.write(1)));
            assertThat(Files.isSymbolicLink(path.resolve("linkfalse"))).isFalse();
            folder.delete("linktrue");
        }
        assertThat(target).hasContent("mine");
    }

    @Test
    void aPlantedLockIsNotFollowed() throws IOException {
        Files.createDirectories(path);
        Files.createSymbolicLink(path.resolve(".lock"), temp.resolve("target"));

        assertThatThrownBy(() -> Folder.make(path)).hasMessageContaining("it is a link");
        assertThat(temp.resolve("target")).doesNotExist();
    }

    @Test
    void whoComesSecondIsRefusedUntilTheFirstHasClosedIt() throws IOException {
        try (Folder folder = Folder.make(path)) {
            assertThat(folder.isLocked()).isTrue();
            for (int i = 0; i < 2; i++) { // the first refusal does not lose the lock
                assertThatThrownBy(() -> Folder.lock(path))
                        .isInstanceOf(FolderLockedException.class)
                        .hasMessageStartingWith(path + " is being used by process "
                                + ProcessHandle.current().pid() + " on host ");
            }
            assertThat(path.resolve(".lock")).exists();
            assertThat(folder.names()).isEmpty();
        }
        assertThat(path).isEmptyDirectory();
        Folder.lock(path).close();
    }

    @Test
    void onlyAnEmptyFolderIsRemoved() throws IOException {
        Folder folder = Folder.make(path);
        try (folder) {
            Files.writeString(path.resolve("notes"), "mine");
            assertThat(folder.removeIfEmpty()).isFalse();
            folder.delete("notes");
            assertThat(folder.removeIfEmpty()).isTrue();
            assertThat(folder.isLocked()).isFalse();
        }
        assertThat(path).doesNotExist();
        assertThatThrownBy(() -> Folder.lock(path)).isInstanceOf(NoSuchFileException.class);
        assertThatThrownBy(folder::removeIfEmpty).isInstanceOf(IllegalStateException.class);
    }

    @Test
    void aFileIsNoFolder() throws IOException {
        Path file = Files.createFile(temp.resolve("file"));

        assertThatThrownBy(() -> Folder.open(file)).isInstanceOf(NotDirectoryException.class);
        assertThatThrownBy(() -> Folder.make(file)).isInstanceOf(NotDirectoryException.class);
    }

    /** Makes and removes the same folder from many threads: never are two inside, and nobody's file is lost. */
    @Test
    void oneAtATimeIsInsideThoughTheFolderComesAndGoes() throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger entered = new AtomicInteger();
        ExecutorService pool = Executors.newFixedThreadPool(8);
        try {
            List<Future<?>> ends = new ArrayList<>();
            for (int i = 0; i < 8; i++) {
                ends.add(pool.submit(() -> {
                    while (entered.get() < 300) {
                        try (Folder folder = Folder.make(path)) {
                            assertThat(inside.incrementAndGet()).isEqualTo(1);
                            write(folder, "file", StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
                            folder.delete("file");
                            entered.incrementAndGet();
                            inside.decrementAndGet(); // whoever waits may enter as soon as it is removed
                            folder.removeIfEmpty();
                        } catch (FolderLockedException e) {
                            Thread.onSpinWait();
                        }
                    }
                    return null;
                }));
            }
            for (Future<?> end : ends) {
                end.get();
            }
        } finally {
            pool.shutdownNow();
        }
        assertThat(path).doesNotExist();
    }

    private static void write(Folder folder, String name, StandardOpenOption... options) throws IOException {
        try (FileChannel channel = folder.channel(name, options)) {
            channel.write(ByteBuffer.wrap(new byte[] {7}));
        }
    }
}
