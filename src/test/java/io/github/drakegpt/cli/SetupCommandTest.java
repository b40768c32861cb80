package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import com.sun.net.httpserver.HttpServer;
import io.github.drakegpt.data.Corpus;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SetupCommandTest {
    /** A text that is just long enough. */
    private static final String LA = "la la\n".repeat(170).strip();

    @TempDir
    Path temp;

    @Test
    void preparesTheSampleAndPrintsWhatItIs() throws IOException {
        Path out = temp.resolve("corpus");

        Cli.Result result = Cli.run("setup", "--source", "sample", "--out", out.toString());

        assertThat(result.err()).isEmpty();
        assertThat(result.code()).isZero();
        assertThat(result.out())
                .contains("data/sample/lyrics.csv, column Lyric", "601,053", "63 characters: \\n !\"',-.17:?ABC")
                .contains("540,947 tokens train, 60,106 tokens val", out.toString())
                .contains("  My grandad poured salt on the steps before sunrise,\n")
                .contains("  So I learned to pay early and wear a scarf on\n")
                .endsWith("\nTo train on it: drakegpt train --data " + out + "\n");
        Corpus corpus = Corpus.read(out);
        assertThat(corpus.train()).hasSize(540_947);
        assertThat(out.resolve("corpus.json")).content().contains("\"column\" : \"Lyric\"", "\"characters\" : 601053");
    }

    @Test
    void replacesOnlyWhatSetupMade() throws IOException {
        Path out = temp.resolve("corpus");
        Path a = Files.writeString(temp.resolve("a.txt"), "first text\n".repeat(100));
        Path b = Files.writeString(temp.resolve("b.txt"), "second\n".repeat(200));
        Cli.run("setup", "--source", a.toString(), "--out", out.toString());

        Cli.Result result = Cli.run("setup", "--source", b.toString(), "--out", out.toString());

        assertThat(result.code()).isZero();
        assertThat(result.out()).contains("in place of the corpus from " + a);
        assertThat(out.resolve("input.txt")).hasContent("second\n".repeat(200));

        Path mine = Files.createDirectories(temp.resolve("mine"));
        Files.writeString(mine.resolve("input.txt"), "precious");
        fails(1, mine + " is there already", "--source", a.toString(), "--out", mine.toString());
        assertThat(mine.resolve("input.txt")).hasContent("precious");
        fails(1, a + " is there already and is not a folder", "--source", b.toString(), "--out", a.toString());
        fails(1, a + "/below: Not a directory;", "--source", b.toString(), "--out", a + "/below");
        assertThat(a).hasContent("first text\n".repeat(100));
    }

    @Test
    void aFailedSetupLeavesTheCorpusFromBefore() throws IOException {
        Path out = temp.resolve("corpus");
        Path good = Files.writeString(temp.resolve("a.txt"), "first text\n".repeat(100));
        Path bad = Files.write(temp.resolve("b.txt"), new byte[] {1, 0, 2});
        Cli.run("setup", "--source", good.toString(), "--out", out.toString());

        fails(1, bad + " is not UTF-8 text", "--source", bad.toString(), "--out", out.toString());

        assertThat(out.resolve("input.txt")).hasContent("first text\n".repeat(100));
    }

    @Test
    void escapesWhatWouldMoveTheCursor() throws IOException {
        Path file = Files.writeString(temp.resolve("a.txt"), "la\u001b[2J\tla".repeat(200));

        Cli.Result result = Cli.run(
                "setup", "--source", file.toString(), "--out", temp.resolve("x").toString());

        assertThat(result.out()).doesNotContain("\u001b").contains("  la\\u001b[2J\\tla");
    }

    @Test
    void errorsAreOneSentence() throws IOException {
        String out = temp.resolve("out").toString();
        Path missing = temp.resolve("missing.txt");
        Path empty = Files.writeString(temp.resolve("empty.txt"), "");
        Path noLyrics = Files.writeString(temp.resolve("no.csv"), "Lyric,X\n,1\n");
        Path text = Files.writeString(temp.resolve("a.txt"), LA);

        fails(1, missing + " does not exist", "--source", missing.toString(), "--out", out);
        fails(1, temp + " is a folder", "--source", temp.toString(), "--out", out);
        fails(1, empty + " holds no text", "--source", empty.toString(), "--out", out);
        fails(1, noLyrics + ", column Lyric, holds no text", "--source", noLyrics.toString(), "--out", out);
        fails(1, noLyrics + " has no column Y", "--source", noLyrics.toString(), "--column", "Y", "--out", out);
        fails(2, "plain text, which has no columns", "--source", text.toString(), "--column", "Y", "--out", out);
        fails(2, "--artist chooses", "--source", "sample", "--artist", "Drake", "--out", out);
        fails(2, "--source is empty; give sample", "--source", "", "--out", out);
        fails(2, "--max-download is 0; give 1 or more", "--source", "sample", "--max-download", "0", "--out", out);
        fails(2, "host name and port", "--source", "http://a.org:99999/x.txt", "--out", out);
        fails(2, "cannot read ftp addresses", "--source", "ftp://a.org/x.txt", "--out", out);
        assertThat(Path.of(out)).doesNotExist();
        assertThat(Cli.run("setup").code()).isEqualTo(2);
    }

    @Test
    void textsThatAreTooShortAreRefusedAndShortOnesWarnedAbout() throws IOException {
        Path file = Files.writeString(temp.resolve("a.txt"), "x".repeat(999));
        Path out = temp.resolve("out");
        fails(1, file + " has only 999 characters, too few", "--source", file.toString(), "--out", out.toString());
        assertThat(out).doesNotExist();

        Files.writeString(file, "x".repeat(1000));
        Cli.Result few = Cli.run("setup", "--source", file.toString(), "--out", out.toString());
        assertThat(few.code()).as(few.err()).isZero();
        assertThat(few.err()).contains("1,000 characters are few: models learn them by heart.");
    }

    @Test
    void anEarlierCorpusIsUsedAgain() throws IOException, InterruptedException {
        for (String name : List.of("one", "two")) {
            Files.writeString(temp.resolve(name + ".txt"), LA);
            assertThat(Cli.runIn(temp, "setup", "--source", name + ".txt").code())
                    .isZero();
        }
        String[] train = {"train", "--model", "BigramLM", "--iters", "1", "--set", "train.eval_iters=1"};
        assertThat(Cli.runIn(temp, train).err())
                .startsWith(
                        "Corpus data/two (the last that setup made or was told to use): 917 characters to train on,");

        Cli.Result use = Cli.runIn(temp, "setup", "--use", "one");
        assertThat(use.code()).as(use.err()).isZero();
        assertThat(use.out()).startsWith("Training uses data/one from now on;");
        assertThat(Cli.runIn(temp, train).err()).startsWith("Corpus data/one ");

        Cli.Result none = Cli.runIn(temp, "setup", "--use", "three");
        assertThat(none.code()).isEqualTo(2);
        assertThat(none.err())
                .isEqualTo(
                        "drakegpt: There is no corpus 'three' under data, only one, two; make one with setup --source.\n");
        fails(2, "give it without other options", "--use", "one", "--out", "x");
        assertThat(Cli.run("setup", "--use", "one", "--source", "sample").code())
                .isEqualTo(2);
    }

    @Test
    void unreadableAndUnwritableAreNamed() throws IOException {
        Path file = Files.writeString(temp.resolve("a.txt"), LA);
        Path folder = Files.createDirectories(temp.resolve("locked"));
        assumeThat(folder.toFile().setWritable(false)).isTrue();
        assumeThat(Files.isWritable(folder)).as("root may write everywhere").isFalse();

        fails(1, "No permission for " + folder, "--source", file.toString(), "--out", folder + "/x");
        assumeThat(file.toFile().setReadable(false)).isTrue();
        fails(1, "No permission for " + file, "--source", file.toString(), "--out", temp + "/x");
    }

    @Test
    void readsAnAddress() throws IOException, InterruptedException {
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        byte[] body = ("Lyric\n\"" + LA + "\"\n").getBytes(StandardCharsets.UTF_8);
        server.createContext("/", exchange -> {
            try (exchange) {
                exchange.sendResponseHeaders(200, body.length);
                exchange.getResponseBody().write(body);
            }
        });
        server.start();
        try {
            String address = "http://127.0.0.1:" + server.getAddress().getPort() + "/my.csv";

            Cli.Result result = Cli.runIn(temp, "setup", "--source", address);

            assertThat(result.code()).isZero();
            assertThat(result.out()).contains("Source      " + address + ", column Lyric");
            assertThat(result.err()).contains("Downloaded 0.0 of 0.0 MB");
            assertThat(temp.resolve("data/my/input.txt")).hasContent(LA);
            assertThat(temp.resolve("data")).isDirectoryNotContaining("glob:**.kaggle");
        } finally {
            server.stop(0);
        }
    }

    @Test
    void kaggleWithoutATokenSaysHowToGetOne() throws IOException, InterruptedException {
        Cli.Result result = Cli.runIn(temp, "setup", "--source", "kaggle");

        assertThat(result.code()).isEqualTo(1);
        assertThat(result.err())
                .startsWith("drakegpt: No Kaggle token was found")
                .satisfies(err -> assertThat(err.lines()).hasSize(1));
        assertThat(temp).isEmptyDirectory();
    }

    @ParameterizedTest
    @CsvSource({
        "my song.txt.gz,my-song",
        "sample.txt,sample-corpus",
        ".kaggle.txt,kaggle",
        "...,corpus",
        "a.b.md,a.b.md"
    })
    void theFolderIsNamedAfterTheFile(String file, String folder) throws IOException, InterruptedException {
        Files.writeString(temp.resolve(file), LA);

        Cli.Result result = Cli.runIn(temp, "setup", "--source", file);
        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out())
                .endsWith(
                        "Training uses data/" + folder + " from now on; `drakegpt setup --use NAME` takes another.\n");

        assertThat(temp.resolve("data").resolve(folder).resolve("input.txt")).hasContent(LA);
    }

    @Test
    void helpIsNoError() {
        Cli.Result result = Cli.run("setup", "--help");

        assertThat(result.code()).isZero();
        assertThat(result.out()).contains("--source=SOURCE", "--artist", "--column", "--out");
    }

    @Test
    void tooLittleMemoryIsOneSentence() throws IOException, InterruptedException {
        Files.writeString(temp.resolve("big.txt"), "la la\n".repeat(6_000_000));

        Cli.Result result = Cli.runIn(temp, List.of("-Xmx32m"), "setup", "--source", "big.txt");

        assertThat(result.err()).startsWith("drakegpt: Java ran out of memory;").doesNotContain("\tat ");
        assertThat(result.code()).isEqualTo(1);
    }

    private static void fails(int code, String words, String... options) {
        String[] args = new String[options.length + 1];
        args[0] = "setup";
        System.arraycopy(options, 0, args, 1, options.length);

        Cli.Result result = Cli.run(args);

        assertThat(result.err())
                .startsWith("drakegpt: ")
                .contains(words)
                .satisfies(err -> assertThat(err.lines()).hasSize(1));
        assertThat(result.code()).isEqualTo(code);
        assertThat(result.out()).isEmpty();
    }
}
