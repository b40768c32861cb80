package io.github.drakegpt.data;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPOutputStream;
import java.util.zip.ZipEntry;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Damaged texts, archives, vocabularies and tokens. */
class DataFuzzTest {
    private static final String CSV =
            "Lyric,Title,\u00fcber\n\"la \"\"la\"\", la\n\nlu\",one,1\nna na,two,2\n,three,3\n";

    @TempDir(factory = MemoryFolder.class)
    Path folder;

    private static List<byte[]> texts(String... texts) {
        return Arrays.stream(texts)
                .map(text -> text.getBytes(StandardCharsets.UTF_8))
                .toList();
    }

    private static byte[] gzipped(byte[] content) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (GZIPOutputStream out = new GZIPOutputStream(bytes)) {
            out.write(content);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return bytes.toByteArray();
    }

    private static void read(Path file) throws IOException {
        TextSource.read(file, TextSource.LYRIC_COLUMN);
    }

    @Test
    void csv() throws Exception {
        new Mutants("csv", texts(CSV, CSV.replace(',', ';').replace("\n", "\r\n")), DataFuzzTest::read)
                .survive(folder.resolve("x.csv"), List.of(IOException.class));
    }

    @Test
    void gzip() throws Exception {
        List<byte[]> archives = texts(CSV, "la la la\n".repeat(200)).stream()
                .map(DataFuzzTest::gzipped)
                .toList();
        new Mutants("gzip", archives, DataFuzzTest::read)
                .survive(folder.resolve("x.txt.gz"), List.of(IOException.class));
    }

    @Test
    void textInGzip() throws Exception {
        new Mutants("text in gzip", texts(CSV), DataFuzzTest::read)
                .in(DataFuzzTest::gzipped)
                .survive(folder.resolve("x.csv.gz"), List.of(IOException.class));
    }

    @Test
    void zip() throws Exception {
        byte[] archive = TestZip.of("csv/", "", "csv/A.csv", CSV, "csv/B.csv", "la ".repeat(2000));
        Mutants.Reader reader = file -> {
            try (SafeZip zip = new SafeZip(file, SafeZip.Limits.LYRICS)) {
                for (ZipEntry entry : zip.entries()) {
                    zip.read(entry);
                }
            }
        };
        new Mutants("zip", List.of(archive), reader).survive(folder.resolve("x.zip"), List.of(IOException.class));
    }

    @Test
    void kaggleToken() throws Exception {
        Path file = folder.resolve("kaggle.json");
        if (file.getFileSystem().supportedFileAttributeViews().contains("posix")) {
            Files.createFile(file, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
        }
        Map<String, String> environment = Map.of("KAGGLE_CONFIG_DIR", folder.toString());
        new Mutants(
                        "kaggle.json",
                        texts("{\"username\": \"somebody\", \"key\": \"0123456789abcdef\"}"),
                        token -> KaggleCredentials.find(environment, folder).authorization())
                .survive(file, List.of(IOException.class));
    }

    @Test
    void vocabulary() throws Exception {
        new Mutants("vocab.json", texts("[\"\\n\",\" \",\"a\",\"b\",\"\u00fc\",\"\uD83D\uDE00\"]"), CharTokenizer::read)
                .survive(folder.resolve("vocab.json"), List.of(IOException.class));
    }
}
