package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.checkpoint.RunFolder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ReportCommandTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    @TempDir
    static Path shared;

    static Path runs;

    @TempDir
    Path temp;

    @BeforeAll
    static void train() throws IOException {
        Path corpus = TinyRuns.corpus(shared.resolve("corpus"));
        runs = shared.resolve("runs");
        TinyRuns.train(corpus, runs.resolve("a"), "--model", "TransformerLM");
        TinyRuns.bigram(corpus, runs.resolve("z"));
        TinyRuns.bigram(corpus, runs.resolve("more/b"));
    }

    private JsonNode report(String... args) throws IOException {
        Path file = temp.resolve("page.html");
        List<String> all = new ArrayList<>(List.of("report", "--out", file.toString()));
        all.addAll(List.of(args));
        Cli.Result result = Cli.run(all.toArray(String[]::new));
        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out()).isEqualTo(file + System.lineSeparator());
        Matcher data = Pattern.compile("<script type=\"application/json\" id=\"data\">(.*?)</script>")
                .matcher(Files.readString(file));
        assertThat(data.find()).isTrue();
        return JSON.readTree(data.group(1)).path("runs");
    }

    @Test
    void aFolderStandsForTheRunsInItInTheOrderOfTheStages() throws IOException {
        assertThat(report(runs.toString()).findValuesAsText("name")).containsExactly("b", "z", "a");
    }

    @Test
    void runsComeInTheOrderInWhichTheyAreGivenAndOnce() throws IOException {
        Path z = runs.resolve("z");
        JsonNode reported = report(
                z.toString(), runs.resolve("a").toString(), z.resolve("../z").toString());

        assertThat(reported.findValuesAsText("name")).containsExactly("z", "a");
        assertThat(reported.at("/1/model").asText()).isEqualTo("TransformerLM");
        assertThat(reported.at("/1/state/step").asInt()).isEqualTo(20);
        assertThat(reported.at("/1/evaluations/step")).hasToString("[10,20]");
    }

    @Test
    void withoutArgumentsItTakesWhatIsUnderRuns() throws Exception {
        Cli.Result none = Cli.runIn(temp, "report");
        assertFails(none, 1, "There are no runs under runs yet");

        Path run = temp.resolve("runs/journey/b");
        Files.createDirectories(run);
        for (String name : List.of(RunFolder.CONFIG, RunFolder.VOCAB)) {
            Files.copy(runs.resolve("z").resolve(name), run.resolve(name));
        }
        Cli.Result result = Cli.runIn(temp, "report");
        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out()).isEqualTo("report.html" + System.lineSeparator());
        assertThat(temp.resolve("report.html")).isRegularFile();
    }

    @Test
    void errorsAreASentence() throws IOException {
        Path empty = Files.createDirectories(temp.resolve("empty"));
        Path file = Files.writeString(temp.resolve("file"), "text");

        assertFails(Cli.run("report", empty.toString()), 1, "has no runs in it");
        assertFails(Cli.run("report", file.toString()), 1, "is not a folder");
        assertFails(Cli.run("report", temp.resolve("missing").toString()), 1, "is not a folder");
        Path out = temp.resolve("missing/report.html");
        assertFails(
                Cli.run("report", runs.toString(), "--out", out.toString()), 1, out + ": its folder does not exist");
        assertThat(out).doesNotExist();
    }

    @Test
    void twoThingsInOneFileAreRefused() {
        Path file = temp.resolve("a");
        String again = temp.resolve("b/../a").toString();

        for (List<String> options : List.of(
                List.of("--out", file.toString(), "--svg", again), List.of("--svg", file.toString(), "--png", again))) {
            List<String> args = new ArrayList<>(List.of("report", runs.toString()));
            args.addAll(options);
            assertFails(Cli.run(args.toArray(String[]::new)), 2, "a file of their own");
        }
        assertThat(file).doesNotExist();
    }

    @Test
    void ofAProfileOnlyWhatIsShownIsTaken() throws IOException {
        Path run = Files.createDirectories(temp.resolve("profiled"));
        for (String name : List.of(RunFolder.CONFIG, RunFolder.VOCAB)) {
            Files.copy(runs.resolve("z").resolve(name), run.resolve(name));
        }
        Path profile = run.resolve(RunFolder.PROFILE);
        Files.writeString(
                profile,
                "{\"device\":\"cpu\",\"val_loss\":2.5,\"agreement\":1,"
                        + "\"speed\":[{\"phase\":\"decode\",\"batch\":8,\"tokens_per_s\":9.5,\"p50_ms\":1}]}");
        assertThat(report(run.toString()).at("/0/profile"))
                .hasToString("{\"device\":\"cpu\",\"val_loss\":2.5,"
                        + "\"speed\":[{\"phase\":\"decode\",\"batch\":8,\"tokens_per_s\":9.5}]}");

        Files.writeString(profile, "{\"device\":7,\"val_loss\":\"low\",\"speed\":5}");
        assertThat(report(run.toString()).at("/0/profile"))
                .hasToString("{\"device\":\"7\",\"val_loss\":null,\"speed\":[]}");
    }

    @Test
    void ofARunThatIsPassedOverASentenceSaysWhatIsMissing() throws IOException {
        Path run = Files.createDirectories(temp.resolve("some/run"));
        Files.copy(runs.resolve("z").resolve(RunFolder.CONFIG), run.resolve(RunFolder.CONFIG));

        assertThat(Cli.run("report", temp.resolve("some").toString()).err())
                .contains("Passing over a run: " + run.resolve(RunFolder.VOCAB) + " does not exist; check the path.");
    }

    @ParameterizedTest
    @ValueSource(strings = {RunFolder.CONFIG, RunFolder.STATE, RunFolder.MACHINE, RunFolder.PROFILE})
    void aDamagedRunAmongOthersIsPassedOver(String damaged) throws IOException {
        Path folder = temp.resolve("some");
        for (String name : List.of("good", "bad")) {
            Path run = Files.createDirectories(folder.resolve(name));
            for (String copied : List.of(RunFolder.CONFIG, RunFolder.VOCAB)) {
                Files.copy(runs.resolve("z").resolve(copied), run.resolve(copied));
            }
        }
        Files.writeString(folder.resolve("bad").resolve(damaged), "{");

        assertThat(report(folder.toString()).findValuesAsText("name")).containsExactly("good");
        assertFails(Cli.run("report", folder.resolve("bad").toString()), 1, "is damaged");
    }
}
