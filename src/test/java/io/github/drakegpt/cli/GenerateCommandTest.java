package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assumptions.assumeThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.data.TextSource;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GenerateCommandTest {
    private static final Pattern WORDS = Pattern.compile("[A-Za-z']+");

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

    /** Mostly words of the songs that it has read. */
    @Test
    void theModelThatComesWithTheProjectWritesWords() throws IOException {
        String lyrics = TextSource.read(Path.of("data/sample/lyrics.csv"), TextSource.LYRIC_COLUMN);
        Set<String> words =
                WORDS.matcher(lyrics).results().map(MatchResult::group).collect(Collectors.toSet());
        JsonNode json = json("generate", "--length", "2000", "--seed", "1", "--json");

        assertThat(json.at("/texts/0/run").asText()).endsWith("data/pretrained/TransformerLM-b1.58");
        List<String> written = WORDS.matcher(json.at("/texts/0/text").asText())
                .results()
                .map(MatchResult::group)
                .toList();
        assertThat(written).hasSizeGreaterThan(300);
        assertThat(written.stream().filter(words::contains).count()).isGreaterThan(written.size() * 9L / 10);
    }

    @Test
    void endsATextBeforeAStopString() {
        String[] args = {"generate", "--run", run.toString(), "--seed", "5", "--length", "200", "--json"};
        String whole = json(args).at("/texts/0/text").asText();
        String stop = whole.substring(60, 63);

        JsonNode stopped = json(with(args, "--stop", stop)).at("/texts/0");
        assertThat(stopped.get("text").asText()).isEqualTo(whole.substring(0, whole.indexOf(stop)));
        assertThat(stopped.get("finish_reason").asText()).isEqualTo("stop");
        assertThat(stopped.get("tokens").asInt()).isEqualTo(whole.indexOf(stop));
        assertThat(json(with(args, "--stop", "\\n")).at("/texts/0/text").asText())
                .isEqualTo(whole.substring(0, whole.indexOf('\n')));
        assertThat(json(with(args, "--stop", "Q")).at("/texts/0/finish_reason").asText())
                .isEqualTo("length");
    }

    /** The probabilities are those of the score, where its windows see the same. */
    @Test
    void jsonHasTheTextsAndOnRequestTheirProbabilities() throws IOException {
        Path other = TinyRuns.train(corpus, temp.resolve("other"));
        JsonNode json = json(
                "generate",
                "--run",
                run.toString(),
                "--run",
                other.toString(),
                "--prompt",
                "It ",
                "--num-samples",
                "2",
                "--length",
                "30",
                "--seed",
                "5",
                "--json",
                "--logprobs");
        assertThat(json.get("prompt").asText()).isEqualTo("It ");
        assertThat(json.get("temperature").asDouble()).isEqualTo(0.8, within(1e-6));
        assertThat(json.get("top_k").asInt()).isEqualTo(40);
        assertThat(json.get("seed").asInt()).isEqualTo(5);
        assertThat(json.get("texts")).hasSize(4);
        assertThat(json.at("/texts/3/run").asText()).isEqualTo(other.toString());
        assertThat(json.at("/texts/3/sample").asInt()).isEqualTo(1);
        for (JsonNode text : json.get("texts")) {
            assertThat(text.get("tokens").asInt()).isEqualTo(30);
            assertThat(text.get("seconds").asDouble()).isPositive();
            assertThat(text.get("logprobs")).hasSize(30).allMatch(value -> value.asDouble() < 0);
        }

        // a bigram model sees one character, whatever the window
        double sum = 0;
        for (JsonNode value : json.at("/texts/0/logprobs")) {
            sum += value.asDouble();
        }
        Cli.Result score = Cli.run(
                "score",
                "--run",
                run.toString(),
                "--json",
                "--string",
                " " + json.at("/texts/0/text").asText());
        assertThat(-sum / 30)
                .isCloseTo(new ObjectMapper().readTree(score.out()).get("nll").asDouble(), within(1e-6));
    }

    @Test
    void aPromptComesFromAFileOrFromStandardInput() throws IOException, InterruptedException {
        Path file = Files.writeString(temp.resolve("verse.txt"), "It rained\r\non");
        JsonNode json =
                json("generate", "--run", run.toString(), "--prompt-file", file.toString(), "--length", "3", "--json");
        assertThat(json.get("prompt").asText()).isEqualTo("It rained\non");
        assertFails(Cli.run("generate", "--run", run.toString(), "--prompt-file", temp + "/none"), 1, "does not exist");

        Process process = new ProcessBuilder(
                        Cli.command(temp, List.of(), "generate", "--run", "run", "--prompt", "-", "--length", "3"))
                .directory(temp.toFile())
                .redirectInput(file.toFile())
                .redirectError(temp.resolve("err").toFile())
                .start();
        assertThat(new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8))
                .startsWith("It rained\non")
                .hasSize(12 + 3 + 1);
        assertThat(process.waitFor()).isZero();
    }

    @Test
    void severalRunsContinueTheSamePrompt() throws IOException, InterruptedException {
        TinyRuns.train(corpus, temp.resolve("other"));
        Cli.Result both = Cli.runIn(
                temp, "generate", "--run", "run", "--run", "other", "--prompt", "It ", "--length", "9", "--seed", "2");
        Cli.Result one = Cli.runIn(temp, "generate", "--run", "run", "--prompt", "It ", "--length", "9", "--seed", "2");
        assertThat(both.out())
                .startsWith("=== run (BigramLM) ===\n" + one.out() + "\n=== other (TransformerLM) ===\nIt ");
        assertThat(both.err()).contains("Saved as inference/generation_BigramLM_TransformerLM_");
    }

    @Test
    void aSessionContinuesLinesAndTakesSettings() throws IOException, InterruptedException {
        Path lines = Files.writeString(
                temp.resolve("lines"),
                "It \n/length 7\n/temperature 0\nwe \n\n/seed x\n/nothing\n€\n/stop ,\n/quit\nnever\n");
        Process process = new ProcessBuilder(
                        Cli.command(temp, List.of(), "generate", "--run", "run", "-i", "--length", "5", "--seed", "2"))
                .directory(temp.toFile())
                .redirectInput(lines.toFile())
                .redirectError(temp.resolve("err").toFile())
                .start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).isZero();
        assertThat(temp.resolve("inference").toFile().listFiles()[0]).hasContent(out);

        Cli.Result greedy =
                Cli.runIn(temp, "generate", "--run", "run", "--prompt", "we ", "--length", "14", "--temperature", "0");
        assertThat(out).startsWith("It ").doesNotContain("never").hasSize(8 + 1 + 10 + 1 + 7 + 1);
        String continued = out.substring(9, 19) + out.substring(20, 27);
        assertThat(greedy.out()).isEqualTo(continued + "\n");
        assertThat(temp.resolve("err"))
                .content()
                .contains(
                        "length 7",
                        "temperature 0.0",
                        "/seed needs a whole number",
                        "There is no /nothing; /help lists",
                        "Not in the vocabulary: '€'",
                        "stop [,]",
                        "Saved as inference/generation_BigramLM_");
    }

    /** A text that a signal ends is saved as far as it is. */
    @Test
    void aSignalSavesTheText() throws IOException, InterruptedException {
        Process process = new ProcessBuilder(
                        Cli.command(temp, List.of(), "generate", "--run", "run", "--length", "1000000000"))
                .directory(temp.toFile())
                .redirectOutput(temp.resolve("out").toFile())
                .redirectError(temp.resolve("err").toFile())
                .start();
        try {
            while (Files.size(temp.resolve("out")) < 1000 && process.isAlive()) {
                Thread.sleep(10);
            }
            process.destroy(); // SIGTERM
            assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
        } finally {
            process.destroyForcibly();
        }
        assertThat(process.exitValue()).isZero();
        File[] saved = temp.resolve("inference").toFile().listFiles();
        assertThat(saved).hasSize(1);
        assertThat(saved[0]).hasSameBinaryContentAs(temp.resolve("out").toFile());
    }

    private static JsonNode json(String... args) {
        Cli.Result result = Cli.run(args);
        assertThat(result.code()).as(result.err()).isZero();
        try {
            return new ObjectMapper().readTree(result.out());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static String[] with(String[] args, String... more) {
        return Stream.concat(Arrays.stream(args), Arrays.stream(more)).toArray(String[]::new);
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
                "--logprobs | add --json",
                "--max-new-tokens 9 | generate has no option --max-new-tokens; did you mean --length?",
                "--max_new_tokens=9 | did you mean --length?",
                "--num_samples=9 | did you mean --num-samples?",
                "-i --json | leave out --json",
                "-i --prompt It | mutually exclusive",
                "--stop= | An empty string",
                "--threads 0 | 0 threads",
                "--model BigramLM | leave out --model and --pretrained"
            })
    void wrongOptionsAreOneSentence(String options, String words) {
        String[] all = ("generate --run " + run + " " + options).split(" ");

        assertFails(Cli.run(all), 2, words);
    }

    @Test
    void anUnknownModelNamesTheModels() {
        assertFails(Cli.run("generate", "--model", "GPT"), 2, "no model 'GPT'; choose one of BigramLM, Single");
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
