package io.github.drakegpt.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TextSourceTest {
    @TempDir
    Path folder;

    @Test
    void plainTextLosesByteOrderMarkAndCarriageReturns() throws IOException {
        assertThat(read("a.txt", "\uFEFFone\r\ntwo\rthree\n\uFEFF")).isEqualTo("one\ntwo\nthree\n\uFEFF");
        assertThat(read("empty.txt", "")).isEmpty();
    }

    @Test
    void csvColumnIsJoinedWithoutTheEmptyRows() throws IOException {
        String csv = "\uFEFFArtist,Lyric,Year\r\n"
                + "A,\"one, \"\"quoted\"\"\r\nsecond line\",2001\r\n"
                + "B,,2002\r\n"
                + "C,\"\",2003\r\n"
                + "D\r\n"
                + "E,three é,2004\r\n";

        assertThat(read("a.csv", csv)).isEqualTo("one, \"quoted\"\nsecond line\nthree é");
        assertThat(TextSource.read(folder.resolve("a.csv"), "Artist")).isEqualTo("A\nB\nC\nD\nE");
    }

    @Test
    void csvMayHaveTheNamelessIndexOfPandas() throws IOException {
        assertThat(read("a.CSV", ",Lyric\n0,la\n1,di\n")).isEqualTo("la\ndi");
    }

    @Test
    void aMissingColumnNamesThoseThatAreThere() {
        assertThatThrownBy(() -> read("a.csv", "Artist,Text\nA,b\n"))
                .isInstanceOf(IOException.class)
                .hasMessage(folder.resolve("a.csv") + " has no column Lyric; choose one with --column: Artist, Text.");
    }

    @Test
    void columnsMayBeSeparatedBySemicolonsOrTabs() throws IOException {
        assertThat(read("a.csv", "Title;Lyric\n\"A;\";\"la; la, la\"\nB;di\n")).isEqualTo("la; la, la\ndi");
        assertThat(read("b.csv", "Title\tLyric\r\nA\tla, la; la\r\n")).isEqualTo("la, la; la");
        assertThat(read("c.csv", "\"Title; long; very\",Lyric\nA,la\n")).isEqualTo("la");
        assertThat(read("d.csv", "Lyric\nla; di, du\n")).isEqualTo("la; di");
    }

    @Test
    void aColumnMustBeTheOnlyOneOfItsName() {
        assertThatThrownBy(() -> read("a.csv", "Lyric,Year,Lyric\nla,1,di\n"))
                .hasMessage(folder.resolve("a.csv") + " has 2 columns named Lyric; rename all of them but one.");
        assertThatThrownBy(() -> read("b.csv", ",artist, ,lyrics\n0,A,,la\n"))
                .hasMessage(
                        folder.resolve("b.csv") + " has no column Lyric; choose one with --column: artist, lyrics.");
    }

    @Test
    void aCarriageReturnEndsALineInAnyFile() throws IOException {
        assertThat(read("a.csv", "Title,Lyric\rA,\"la\rdi\r\rdu\"\rB,da\r")).isEqualTo("la\ndi\n\ndu\nda");
    }

    @Test
    void aNulIsNamedWithItsLine() {
        assertThatThrownBy(() -> read("a.csv", "Title,Lyric\nA,la\nB,\"di\0\"\n"))
                .hasMessage(
                        folder.resolve("a.csv") + " is not UTF-8 text: it has a NUL character in line 3; remove that,"
                                + " or convert it to UTF-8 if it has another encoding.");
    }

    @Test
    void gzipIsToldByItsFirstBytes() throws IOException {
        Files.write(folder.resolve("a.csv.gz"), gzip("Lyric\nla\n"));
        Files.write(folder.resolve("b.txt"), gzip("la la"));

        assertThat(TextSource.read(folder.resolve("a.csv.gz"), "Lyric")).isEqualTo("la");
        assertThat(TextSource.read(folder.resolve("b.txt"), "Lyric")).isEqualTo("la la");
    }

    @Test
    void aDamagedGzipIsNamed() throws IOException {
        byte[] whole = gzip("la la la la la la");
        Path file = folder.resolve("a.gz");
        Files.write(file, Arrays.copyOf(whole, whole.length - 12));
        assertThatThrownBy(() -> TextSource.read(file, "Lyric")).hasMessageStartingWith(file + " is a damaged gzip");
        whole[whole.length - 6] ^= 1;
        Files.write(file, whole);
        assertThatThrownBy(() -> TextSource.read(file, "Lyric")).hasMessageStartingWith(file + " is a damaged gzip");
    }

    @Test
    void whatIsNoUtf8TextIsRefused() throws IOException {
        String[] names = {"latin1.txt", "utf16.txt", "utf16.csv", "cut.txt", "binary.txt", "latin1.csv"};
        byte[][] contents = {
            "café".getBytes(StandardCharsets.ISO_8859_1),
            "lyrics".getBytes(StandardCharsets.UTF_16LE),
            "Lyric\nla\n".getBytes(StandardCharsets.UTF_16LE),
            {'a', (byte) 0xc3},
            {'a', 0, 'b'},
            "Lyric\ncafé\n".getBytes(StandardCharsets.ISO_8859_1),
        };
        for (int i = 0; i < names.length; i++) {
            Path file = folder.resolve(names[i]);
            Files.write(file, contents[i]);
            assertThatThrownBy(() -> TextSource.read(file, "Lyric"))
                    .isInstanceOf(IOException.class)
                    .hasMessageStartingWith(file + " is not UTF-8 text")
                    .hasMessageContaining("convert it to UTF-8");
        }
    }

    @Test
    void aBrokenCsvIsNamed() {
        for (String[] broken : new String[][] {
            {"Lyric\nfine\n\"no end\n", "in or before line 3"},
            {"Lyric\nfine\nfine\n\"a\"b\n", "in or before line 4"},
            {"\"Lyric\nno end\n", "in its headings"}
        }) {
            assertThatThrownBy(() -> read("a.csv", broken[0]))
                    .isInstanceOf(IOException.class)
                    .hasMessage(folder.resolve("a.csv")
                            + " is not a well-formed CSV file: a quote is missing or out of place " + broken[1]
                            + "; mend it, or rename it to .txt to use it as it is.");
        }
    }

    @Test
    void manyAndLongHeadingsAreCutInTheMessage() {
        String headings = "x".repeat(100_000) + ",b" + ",c".repeat(5) + ",d".repeat(90);
        assertThatThrownBy(() -> read("a.csv", headings + "\n"))
                .hasMessageContaining("choose one with --column: " + "x".repeat(60) + "..., b, c, ")
                .hasMessageEndingWith(" and 77 more.");
    }

    @Test
    void aMissingFileAndAFolderAreNamed() {
        assertThatThrownBy(() -> TextSource.read(folder.resolve("x"), "Lyric")).isInstanceOf(NoSuchFileException.class);
        assertThatThrownBy(() -> TextSource.read(folder, "Lyric")).hasMessageStartingWith(folder + " is a folder");
    }

    @Test
    void readsMoreThanOneBuffer() throws IOException {
        String text = "é\uD83D\uDE00 la\n".repeat(100_000);
        assertThat(read("a.txt", text)).isEqualTo(text);
    }

    private String read(String name, String content) throws IOException {
        return TextSource.read(Files.writeString(folder.resolve(name), content), "Lyric");
    }

    @Test
    void refusesAGzipFileThatUnpacksToFarMore() throws IOException {
        Path file = Files.write(folder.resolve("a.gz"), gzip("a".repeat(40_000_000)));
        assertThatThrownBy(() -> TextSource.read(file, "Lyric"))
                .hasMessage(file + " unpacks to far more than lyrics need; give the text itself.");
        Files.write(file, gzip("a".repeat(10_000_000)));
        assertThat(TextSource.read(file, "Lyric")).hasSize(10_000_000);
    }

    static byte[] gzip(String text) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (GZIPOutputStream gzip = new GZIPOutputStream(bytes)) {
            gzip.write(text.getBytes(StandardCharsets.UTF_8));
        }
        return bytes.toByteArray();
    }
}
