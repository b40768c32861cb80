package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SafeZipTest {
    private static final int CENTRAL_DIRECTORY_CRC = 16;
    private static final int CENTRAL_DIRECTORY_SIZE = 24;

    @TempDir
    Path folder;

    @Test
    void readsWhatIsInIt() throws IOException {
        try (SafeZip zip = open(TestZip.of("csv/", "", "csv/A.csv", "la la"))) {
            assertThat(zip.entries()).extracting(ZipEntry::getName).containsExactly("csv/A.csv");
            assertThat(zip.read(zip.entries().get(0))).asString().isEqualTo("la la");
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"../evil.csv", "csv/../../evil.csv", "/etc/evil.csv", "csv\\..\\evil.csv", "C:/evil.csv", "a/.."
            })
    void refusesPathsThatLeaveTheFolder(String name) throws IOException {
        byte[] zip = TestZip.of("csv/A.csv", "la", name, "evil");

        assertThatThrownBy(() -> open(zip)).isInstanceOf(ZipException.class).hasMessageContaining("unsafe path");
    }

    @Test
    void refusesAFileThatUnpacksToFarMore() throws IOException {
        byte[] zip = TestZip.of("bomb.csv", "a".repeat(2_000_000));

        assertThatThrownBy(() -> open(zip))
                .isInstanceOf(ZipException.class)
                .hasMessageContaining("would unpack to far more than lyrics need, at bomb.csv");
    }

    @Test
    void allowsASmallFileThatShrinksWell() throws IOException {
        open(TestZip.of("a.csv", "a".repeat(100_000))).close();
    }

    @Test
    void refusesManyFilesThatTogetherAreTooMuch() throws IOException {
        String[] files = new String[20_002];
        Arrays.setAll(files, i -> i % 2 == 0 ? "f" + i : "");
        byte[] zip = TestZip.of(files);

        assertThatThrownBy(() -> open(zip)).isInstanceOf(ZipException.class).hasMessageContaining("10001 entries");
    }

    @Test
    void countsTheSizesOfAllFiles() throws IOException {
        // The sizes are only claimed: 20 stored files of one byte that say 200 MB each, as overlapping bombs do.
        byte[] zip = stored(20);
        ByteBuffer bytes = ByteBuffer.wrap(zip).order(ByteOrder.LITTLE_ENDIAN);
        for (int at = find(zip, 0); at >= 0; at = find(zip, at + 4)) {
            bytes.putInt(at + 20, 200_000_000);
            bytes.putInt(at + CENTRAL_DIRECTORY_SIZE, 200_000_000);
        }
        assertThatThrownBy(() -> open(zip)).isInstanceOf(ZipException.class);
    }

    @Test
    void refusesMoreBytesThanTheTableOfContentsSays() throws IOException {
        byte[] zip = TestZip.of("a.csv", "la la la la");
        ByteBuffer.wrap(zip).order(ByteOrder.LITTLE_ENDIAN).putInt(find(zip, 0) + CENTRAL_DIRECTORY_SIZE, 3);

        try (SafeZip opened = open(zip)) {
            assertThatThrownBy(() -> opened.read(opened.entries().get(0)))
                    .hasMessageContaining("has more in a.csv than it says");
        }
    }

    @Test
    void refusesAWrongChecksum() throws IOException {
        byte[] zip = TestZip.of("a.csv", "la la la la");
        zip[find(zip, 0) + CENTRAL_DIRECTORY_CRC] ^= 1;

        try (SafeZip opened = open(zip)) {
            assertThatThrownBy(() -> opened.read(opened.entries().get(0)))
                    .isInstanceOf(ZipException.class)
                    .hasMessageContaining("wrong checksum in a.csv");
        }
    }

    @Test
    void refusesWhatIsNoZip() {
        assertThatThrownBy(() -> open("<html>".getBytes(StandardCharsets.UTF_8)))
                .isInstanceOf(ZipException.class);
        assertThatThrownBy(() -> open(new byte[0])).isInstanceOf(ZipException.class);
    }

    private SafeZip open(byte[] zip) throws IOException {
        return new SafeZip(Files.write(folder.resolve("x.zip"), zip), SafeZip.Limits.LYRICS);
    }

    private static byte[] stored(int count) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        CRC32 crc = new CRC32();
        crc.update('a');
        try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
            zip.setMethod(ZipOutputStream.STORED);
            for (int i = 0; i < count; i++) {
                ZipEntry entry = new ZipEntry("f" + i);
                entry.setSize(1);
                entry.setCrc(crc.getValue());
                zip.putNextEntry(entry);
                zip.write('a');
            }
        }
        return bytes.toByteArray();
    }

    /** Where the next entry of the table of contents begins, -1 if there is none. */
    private static int find(byte[] zip, int from) {
        for (int i = from; i < zip.length - 3; i++) {
            if (zip[i] == 'P' && zip[i + 1] == 'K' && zip[i + 2] == 1 && zip[i + 3] == 2) {
                return i;
            }
        }
        return -1;
    }
}
