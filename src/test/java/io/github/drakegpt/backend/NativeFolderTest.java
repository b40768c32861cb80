package io.github.drakegpt.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIOException;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class NativeFolderTest {
    private static final byte[] CONTENT = "the library".getBytes(StandardCharsets.UTF_8);

    private static final long CRC = crc(CONTENT);

    @TempDir
    Path cache;

    @Test
    void everyFolderIsPrivate() throws IOException {
        Path file = NativeFolder.open(cache).put("lib.so", CONTENT);

        assertThat(file).startsWith(cache.toRealPath()).hasBinaryContent(CONTENT);
        for (Path folder = file.getParent(); !folder.equals(cache.toRealPath()); folder = folder.getParent()) {
            assertThat(permissions(folder)).isEqualTo("rwx------");
        }
    }

    @Test
    void thereIsOneFileForEachContent() throws IOException {
        NativeFolder folder = NativeFolder.open(cache);

        Path file = folder.put("lib.so", CONTENT);

        assertThat(NativeFolder.open(cache).put("lib.so", CONTENT)).isEqualTo(file);
        assertThat(folder.put("lib.so", new byte[] {1})).isNotEqualTo(file);
        assertThat(file).hasBinaryContent(CONTENT);
    }

    @Test
    void aLibraryOfAJarIsUnpackedOnce() throws IOException {
        NativeFolder folder = NativeFolder.open(cache);
        URL first = inJar("first.jar", CONTENT);

        Path file = folder.put(first);
        FileTime written = Files.getLastModifiedTime(file);

        assertThat(file).hasFileName("lib.so").hasBinaryContent(CONTENT);
        assertThat(folder.put(first)).isEqualTo(file);
        assertThat(Files.getLastModifiedTime(file)).isEqualTo(written);
        byte[] other = CONTENT.clone();
        other[0]++;
        assertThat(folder.put(inJar("second.jar", other))).isNotEqualTo(file).hasBinaryContent(other);
        assertThat(file).hasBinaryContent(CONTENT);

        for (String planted : new String[] {"torn", "the livrary", "\0".repeat(CONTENT.length)}) {
            Files.writeString(file, planted);
            assertThat(folder.put(first)).isEqualTo(file).hasBinaryContent(CONTENT);
        }
    }

    @Test
    void aLibraryThatIsNotInAJarIsTakenToo() throws IOException {
        Path library = Files.write(cache.resolve("lib.so"), CONTENT);
        assertThat(NativeFolder.open(cache).put(library.toUri().toURL()))
                .isNotEqualTo(library)
                .hasBinaryContent(CONTENT);
    }

    private URL inJar(String name, byte[] content) throws IOException {
        Path file = cache.resolve(name);
        try (JarOutputStream jar = new JarOutputStream(Files.newOutputStream(file))) {
            jar.putNextEntry(new JarEntry("platform/lib.so"));
            jar.write(content);
        }
        return new URL("jar:" + file.toUri() + "!/platform/lib.so");
    }

    @ParameterizedTest
    @ValueSource(strings = {"the livrary", "the lib", "", "the library and more"})
    void aPlantedOrTornFileIsReplaced(String planted) throws IOException {
        NativeFolder folder = NativeFolder.open(cache);
        Path file = folder.put("lib.so", CONTENT);
        Files.writeString(file, planted);

        assertThat(folder.put("lib.so", CONTENT)).isEqualTo(file).hasBinaryContent(CONTENT);
        assertThat(file.getParent()).isDirectoryNotContaining("glob:**.part");
    }

    @Test
    void aLinkIsReplacedAndWhatItLeadsToIsNot() throws IOException {
        Path other = Files.write(cache.resolve("other"), CONTENT);
        NativeFolder folder = NativeFolder.open(cache);
        Path file = folder.put("lib.so", CONTENT);
        Files.delete(file);
        Files.createSymbolicLink(file, other);

        folder.put("lib.so", CONTENT);

        assertThat(Files.isSymbolicLink(file)).isFalse();
        assertThat(other).hasBinaryContent(CONTENT);
    }

    @ParameterizedTest
    @ValueSource(strings = {"drakegpt/natives", "drakegpt", "."})
    void aFolderThatOthersCanWriteToIsNotUsed(String shared) throws IOException {
        Files.createDirectories(
                cache.resolve("drakegpt/natives"),
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwxr-xr-x")));
        Files.setPosixFilePermissions(cache.resolve(shared), PosixFilePermissions.fromString("rwxrwxrwx"));

        assertTemporary(NativeFolder.open(cache));
    }

    @Test
    void aFolderOfSomebodyElseIsNotUsed() throws IOException {
        assumeThat(Files.getAttribute(Path.of("/proc/self"), "unix:uid"))
                .as("root")
                .isEqualTo(0);
        Files.createDirectories(cache.resolve("drakegpt/natives"));
        Files.setAttribute(cache.resolve("drakegpt/natives"), "unix:uid", 12345);

        assertTemporary(NativeFolder.open(cache));
    }

    @Test
    void whereNoFolderCanBeMadeATemporaryOneIsUsed() throws IOException {
        assertTemporary(NativeFolder.open(Files.createFile(cache.resolve("file"))));
    }

    @Test
    void manyCanUnpackAtTheSameTime() throws Exception {
        byte[] large = new byte[1 << 20];
        ExecutorService pool = Executors.newFixedThreadPool(8);
        try {
            List<Future<Path>> files = new ArrayList<>();
            for (int i = 0; i < 32; i++) {
                files.add(pool.submit(() -> NativeFolder.open(cache).put("lib.so", large)));
            }
            for (Future<Path> file : files) {
                assertThat(file.get()).hasBinaryContent(large);
            }
        } finally {
            pool.shutdown();
        }
    }

    @Test
    void aLargeFileIsReadAgainOnlyIfItWasTouched() throws IOException {
        NativeFolder folder = NativeFolder.open(cache);
        Path file = folder.put("set", "lib.so", () -> new ByteArrayInputStream(CONTENT), CRC);
        assertThat(file).hasBinaryContent(CONTENT);

        NativeFolder.Opening nothing = () -> {
            throw new IOException("nothing is to be copied");
        };
        folder.put("set", "lib.so", nothing, CRC);
        FileTime time = Files.getLastModifiedTime(file);
        for (String planted : new String[] {"the", "the livrary", "\0".repeat(CONTENT.length)}) {
            Files.writeString(file, planted);
            Files.setLastModifiedTime(file, time); // as one who hides it would
            assertThat(folder.put("set", "lib.so", () -> new ByteArrayInputStream(CONTENT), CRC))
                    .hasBinaryContent(CONTENT);
        }
        Files.write(file, CONTENT); // touched, and the same
        folder.put("set", "lib.so", nothing, CRC);
    }

    @Test
    void aLargeFileThatIsDamagedInItsJarIsNotTaken() throws IOException {
        NativeFolder folder = NativeFolder.open(cache);

        assertThatIOException()
                .isThrownBy(() -> folder.put("set", "lib.so", () -> new ByteArrayInputStream(new byte[11]), CRC))
                .withMessage("lib.so is damaged where it comes from; get that jar again");
        assertThat(cache.resolve("drakegpt/natives/set")).isEmptyDirectory();
    }

    private void assertTemporary(NativeFolder folder) throws IOException {
        Path file = folder.put("lib.so", CONTENT);

        assertThat(file).hasBinaryContent(CONTENT);
        assertThat(file.startsWith(cache.toRealPath())).isFalse();
        assertThat(permissions(file.getParent().getParent())).isEqualTo("rwx------");
    }

    private static long crc(byte[] content) {
        CRC32 crc = new CRC32();
        crc.update(content);
        return crc.getValue();
    }

    private static String permissions(Path path) throws IOException {
        return PosixFilePermissions.toString(Files.getPosixFilePermissions(path));
    }
}
