package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GenerateCommandTest {
    @TempDir
    Path temp;

    Path corpus;
    Path run;

    @BeforeEach
    void prepare() throws IOException {
        corpus = TinyRuns.corpus(temp.resolve("corpus"));
        run = TinyRuns.bigram(corpus, temp.resolve("run"));
    }

    @Test
    void printsTheTextAndSavesIt() throws IOException, InterruptedException {
        Cli.Result result = Cli.runIn(
                temp,
                "generate",
                "--run",
                "run",
                "--prompt",
                "It ",
                "--length",
                "40",
                "--seed",
                "3",
                "--num-samples",
                "2");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out())
                .startsWith("It ")
                .contains("\n---\nIt ")
                .endsWith("\n")
                .hasSize(2 * 43 + 5 + 1);
        assertThat(result.err()).contains("Seed 3\n", "Saved as inference/generation_BigramLM_");
        String[] saved = temp.resolve("inference").toFile().list();
        assertThat(saved).singleElement().asString().matches("generation_BigramLM_\\d{8}_\\d{4}\\.txt");
        assertThat(temp.resolve("inference").resolve(saved[0])).hasContent(result.out());

        Cli.Result again =
                Cli.runIn(temp, "generate", "--run", "run", "--prompt", "It ", "--length", "40", "--seed", "3");
        assertThat(result.out()).startsWith(again.out().strip());
        assertThat(temp.resolve("inference").toFile().list()).hasSize(2);
    }

    @Test
    void aModelMeansItsNewestRunAndElseThePretrainedOne() throws IOException, InterruptedException {
        Path home = temp.resolve("home");
        TinyRuns.bigram(corpus, home.resolve("data/pretrained/BigramLM"));
        List<String> java = List.of("-Ddrakegpt.home=" + home);
        String[] args = {"generate", "--model", "BigramLM", "--length", "9", "--seed", "1"};

        Cli.Result pretrained = Cli.runIn(temp, java, args);
        assertThat(pretrained.code()).as(pretrained.err()).isZero();
        assertThat(pretrained.err()).contains("Using the pretrained BigramLM: " + home);

        TinyRuns.bigram(corpus, temp.resolve("runs/journey/new"));
        Files.createDirectories(temp.resolve("runs/broken"));
        Files.writeString(temp.resolve("runs/broken/state.json"), "{");
        Cli.Result newest = Cli.runIn(temp, java, args);
        assertThat(newest.code()).as(newest.err()).isZero();
        assertThat(newest.err()).contains("Using the newest BigramLM under runs: runs/journey/new");

        Cli.Result none = Cli.runIn(temp, java, "generate", "--model", "BlocksLM");
        assertFails(none, 1, "There is no run of BlocksLM under runs and no pretrained one; train it");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "--prompt It€ß | Not in the vocabulary: 'ß', '€';",
                "--prompt @file | Not in the vocabulary: '@';",
                "--length -1 | A length of -1",
                "--length 99999999999 | is not an int",
                "--temperature -1 | A temperature of -1.0",
                "--temperature NaN | A temperature of NaN",
                "--top-k -1 | A top-k of -1",
                "--top-p 0 | A top-p of 0.0",
                "--top-p 1.5 | A top-p of 1.5",
                "--num-samples 0 | 0 samples",
                "--threads 0 | 0 threads",
                "--model BigramLM | either --run DIR or --model NAME"
            })
    void wrongOptionsAreOneSentence(String options, String words) {
        String[] all = ("generate --run " + run + " " + options).split(" ");

        assertFails(Cli.run(all), 2, words);
    }

    @Test
    void anUnknownModelNamesTheModels() {
        assertFails(Cli.run("generate", "--model", "GPT"), 2, "no model 'GPT'; choose one of BigramLM, Single");
        assertFails(Cli.run("generate"), 2, "either --run DIR or --model NAME");
        assertFails(Cli.run("generate", "--run", temp + "/none"), 1, "none is not a folder");
    }

    @Test
    void damagedWeightsAreNamed() throws IOException {
        Path file = run.resolve("model.safetensors");
        Files.write(file, new byte[100]);
        assertFails(Cli.run("generate", "--run", run.toString()), 1, file + " is damaged");
        Files.delete(file);
        assertFails(Cli.run("generate", "--run", run.toString()), 1, run + " has no model.safetensors");
    }

    @Test
    void endsWhenNobodyReadsOn() throws IOException, InterruptedException {
        Process process = new ProcessBuilder(
                        Cli.command(temp, List.of(), "generate", "--run", "run", "--length", "1000000000"))
                .directory(temp.toFile())
                .redirectError(temp.resolve("err").toFile())
                .start();
        try {
            try (InputStream out = process.getInputStream()) {
                assertThat(out.readNBytes(10)).hasSize(10);
            }
            assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
        } finally {
            process.destroyForcibly();
        }
        assertThat(process.exitValue()).isEqualTo(1);
        assertThat(temp.resolve("err"))
                .content()
                .endsWith("drakegpt: The output could not be written to its end; see where stdout goes.\n")
                .doesNotContain("\tat ");
    }

    @Test
    void aFullDiskBehindStdoutIsNoSuccess() throws IOException, InterruptedException {
        assumeThat(Path.of("/dev/full")).exists();
        Process process = new ProcessBuilder(
                        Cli.command(temp, List.of(), "score", "--run", "run", "--string", "It rained"))
                .directory(temp.toFile())
                .redirectOutput(Path.of("/dev/full").toFile())
                .redirectError(temp.resolve("err").toFile())
                .start();

        assertThat(process.waitFor()).isEqualTo(1);
        assertThat(temp.resolve("err")).content().endsWith("drakegpt: " + Main.OUTPUT_CLOSED + "\n");
    }
}
