package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.checkpoint.RunFolder;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Two processes that are given the same command for the same new folder in the same instant. */
class TwoAtOnceTest {
    private static final int PAIRS = 50;
    private static final ObjectMapper JSON = new ObjectMapper();

    @TempDir
    Path temp;

    private Path corpus;
    private final List<Contestant> contestants = new ArrayList<>();

    @BeforeEach
    void prepare() throws IOException {
        corpus = TinyRuns.corpus(temp.resolve("corpus"));
        for (int i = 0; i < 2; i++) {
            contestants.add(new Contestant());
        }
    }

    @AfterEach
    void end() {
        contestants.forEach(contestant -> contestant.process.destroyForcibly());
    }

    @Test
    void oneTrainsAndTheOtherIsRefused() throws IOException {
        Path alone = TinyRuns.bigram(corpus, temp.resolve("alone"));
        for (int pair = 0; pair < PAIRS; pair++) {
            Path run = temp.resolve("run" + pair);

            assertOneIsRefused(run, both(TinyRuns.args(corpus, run, "--model", "BigramLM")));

            TinyRuns.assertSameWeights(run, alone);
            assertThat(run.resolve(RunFolder.LOG)).content().containsOnlyOnce("done at step 20");
            assertThat(run.resolve(RunFolder.METRICS)).content().hasLineCount(20);
            assertThat(run.toFile().list()).hasSameSizeAs(alone.toFile().list());
        }
    }

    @Test
    void oneIsQuantizedAndTheOtherIsRefused() throws IOException {
        Path run = TinyRuns.train(corpus, temp.resolve("run"), "--quant", "b1.58");
        for (int pair = 0; pair < PAIRS; pair++) {
            Path packed = temp.resolve("packed" + pair);

            assertOneIsRefused(
                    packed, both("quantize", "--run", run.toString(), "--to", "b1.58", "--out", packed.toString()));

            assertThat(packed.toFile().list()).containsExactlyInAnyOrder("config.json", "vocab.json", RunFolder.MODEL);
        }
    }

    @Test
    void aCorpusIsWholeWhoeverWroteItLast() throws IOException {
        for (int pair = 0; pair < PAIRS; pair++) {
            Path other = temp.resolve("corpus" + pair);

            List<Cli.Result> results = both("setup", "--source", corpus + ".txt", "--out", other.toString());

            assertThat(results).anyMatch(result -> result.code() == 0).allSatisfy(result -> {
                if (result.code() != 0) {
                    TinyRuns.assertFails(result, 1, other + " is being used by process ");
                }
            });
            assertThat(other.toFile().list())
                    .containsExactlyInAnyOrder(corpus.toFile().list());
            assertThat(other.resolve("train.bin")).hasSameBinaryContentAs(corpus.resolve("train.bin"));
            assertThat(other.resolve("val.bin")).hasSameBinaryContentAs(corpus.resolve("val.bin"));
        }
    }

    private static void assertOneIsRefused(Path folder, List<Cli.Result> results) {
        assertThat(results).extracting(Cli.Result::code).containsOnlyOnce(0);
        Cli.Result refused = results.get(results.get(0).code() == 0 ? 1 : 0);
        TinyRuns.assertFails(refused, refused.code(), folder + " "); // is being used, or holds a run already
    }

    /** Gives a command to both and waits for their ends. */
    private List<Cli.Result> both(String... args) throws IOException {
        for (Contestant contestant : contestants) {
            contestant.in.write(JSON.writeValueAsString(args) + '\n');
        }
        for (Contestant contestant : contestants) {
            contestant.in.flush();
        }
        List<Cli.Result> results = new ArrayList<>();
        for (Contestant contestant : contestants) {
            results.add(JSON.readValue(contestant.out.readLine(), Cli.Result.class));
        }
        return results;
    }

    /** A process that runs the commands that it reads, one a line, and answers what came of each. */
    static final class Contestant {
        private final Process process;
        private final BufferedWriter in;
        private final BufferedReader out;

        private Contestant() throws IOException {
            process = new ProcessBuilder(
                            Path.of(System.getProperty("java.home"), "bin", "java")
                                    .toString(),
                            "-cp",
                            System.getProperty("java.class.path"),
                            Contestant.class.getName())
                    .redirectError(ProcessBuilder.Redirect.INHERIT)
                    .start();
            in = process.outputWriter(StandardCharsets.UTF_8);
            out = process.inputReader(StandardCharsets.UTF_8);
        }

        public static void main(String[] arguments) throws IOException {
            PrintStream answers = System.out;
            BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String command; (command = commands.readLine()) != null; ) {
                List<String> args = JSON.readValue(command, new TypeReference<>() {});
                answers.println(JSON.writeValueAsString(Cli.run(args.toArray(String[]::new))));
            }
        }
    }
}
