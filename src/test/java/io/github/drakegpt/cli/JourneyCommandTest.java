package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.Folder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class JourneyCommandTest {
    @TempDir
    Path temp;

    Path corpus;
    Path out;

    @BeforeEach
    void prepare() throws IOException {
        corpus = TinyRuns.corpus(temp.resolve("corpus"));
        out = temp.resolve("journey");
    }

    @Test
    void trainsTheSixModelsAndTheQuantizedOnesAndComparesThem() throws IOException {
        List<String> stages = new ArrayList<>(TrainCommandTest.MODELS);
        stages.addAll(List.of("TransformerLM-bitnet-schedule", "TransformerLM-b1.58", "TransformerLM-bitnet"));
        Cli.Result result = journey();

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(out.toFile().list()).contains(stages.toArray(String[]::new)).hasSize(stages.size() + 1);
        assertThat(result.err()).endsWith("Report " + out.resolve("report.html") + "\n");
        String report = Files.readString(out.resolve("report.html"));
        assertThat(stages).allSatisfy(stage -> assertThat(report).contains("\"name\":\"" + stage + "\""));
        for (String stage : stages.subList(5, stages.size())) {
            JsonNode profile = new ObjectMapper()
                    .readTree(out.resolve(stage).resolve(RunFolder.PROFILE).toFile());
            assertThat(RunFolder.open(out.resolve(stage)).state().finalValLoss())
                    .as("the training's and the profile's of %s", stage)
                    .isCloseTo(profile.path("val_loss").asDouble(), within(1e-6));
        }
        for (String quant : List.of("b1.58", "bitnet")) {
            assertThat(result.out())
                    .containsPattern("(?m)^TransformerLM-" + quant + ": [+-]0\\.\\d{3} nats per character against full"
                            + " precision with the same settings \\(TransformerLM-bitnet-schedule\\), \\d+\\.\\d times"
                            + " smaller, \\d+\\.\\d\\d times the decode speed\\.$");
        }
        assertThat(result.out().lines().filter(line -> line.startsWith("=== ")))
                .extracting(line -> line.substring(4, line.indexOf(':')))
                .isEqualTo(stages);
        int changes = result.out().lastIndexOf("model  ");
        List<String> table = result.out()
                .substring(result.out().lastIndexOf("model  ", changes - 1), changes)
                .lines()
                .toList();
        assertThat(table.get(0)).contains("parameters", "train loss", "val loss");
        for (String model : stages) {
            assertThat(table).filteredOn(line -> line.startsWith(model + " ")).hasSize(1);
        }
        assertThat(result.out()).doesNotContain("step 10/20");
        List<String> bought = result.out().substring(changes).lines().toList();
        assertThat(bought.get(0)).contains("val loss", "change");
        for (int i = 0; i < 6; i++) {
            assertThat(bought.get(2 + i))
                    .matches(stages.get(i) + " +\\d\\.\\d{4}" + (i == 0 ? "" : " +[+-]\\d\\.\\d{3}( +[#+]+)?"));
        }
        assertThat(bought.get(8)).containsPattern("lower(ed)? the val loss|lower it");
    }

    @Test
    void goesOnWhereItWasInterrupted() throws IOException {
        assertThat(journey("--models", "BigramLM").code()).isZero();
        Map<String, String> before = TinyRuns.contents(out);

        Cli.Result result = journey("--models", "BigramLM,SingleHeadAttentionLM");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.err()).contains("already trained", "SingleHeadAttentionLM: ");
        before.remove("report.html");
        assertThat(TinyRuns.contents(out)).containsAllEntriesOf(before);
        assertThat(out.toFile().list()).containsExactlyInAnyOrder("BigramLM", "SingleHeadAttentionLM", "report.html");
    }

    /** What their config.json does not name had no other choice then. */
    @Test
    void goesOnWithRunsOfOlderVersions() throws IOException {
        assertThat(journey("--models", "BigramLM").code()).isZero();
        Path file = out.resolve("BigramLM").resolve(RunFolder.CONFIG);
        ObjectMapper json = new ObjectMapper();
        ObjectNode config = (ObjectNode) json.readTree(file.toFile());
        ((ObjectNode) config.get("train")).remove("quant_warmup_iters");
        ((ObjectNode) config.get("model")).remove(List.of("quant", "sub_norm"));
        json.writeValue(file.toFile(), config);

        Cli.Result result = journey("--models", "BigramLM");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.err()).contains("already trained");
        assertThat(out.toFile().list()).containsExactlyInAnyOrder("BigramLM", "report.html");
    }

    @Test
    void movesARunOfOtherSettingsAside() throws IOException {
        journey("--models", "BigramLM");
        Map<String, String> before = TinyRuns.contents(out.resolve("BigramLM"));

        Cli.Result result = journey("--models", "BigramLM", "--seed", "7");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.err()).contains("held a run with other settings, which is now " + out.resolve("BigramLM.1"));
        assertThat(TinyRuns.contents(out.resolve("BigramLM.1"))).isEqualTo(before);
        assertThat(TinyRuns.contents(out.resolve("BigramLM"))).isNotEqualTo(before);
    }

    @Test
    void leavesARunThatIsBeingTrainedWhereItIs() throws IOException {
        journey("--models", "BigramLM");
        Folder lock = RunFolder.open(out.resolve("BigramLM")).lock();
        try (lock) {
            assertFails(journey("--models", "BigramLM", "--seed", "7"), 1, "is being used by process ");
        }
        assertThat(out.toFile().list()).containsExactlyInAnyOrder("BigramLM", "report.html");
    }

    @Test
    void namesTwiceAndATrailingCommaDoNoHarm() {
        Cli.Result result = journey("--models", "BigramLM,BigramLM,");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out().lines().filter(line -> line.startsWith("=== "))).hasSize(1);
    }

    @Test
    void errorsAreOneSentenceAndNothingIsTrained() {
        assertFails(journey("--models", "BigramLM,GPT"), 2, "no model 'GPT'; choose one of BigramLM,");
        assertFails(journey("--models", ""), 2, "no model ''; choose one of BigramLM,");
        assertFails(journey("--set", "train.iterz=3"), 2, "did you mean train.iters?");
        assertFails(
                journey("--models", "TransformerLM", "--set", "model.quant=b1.58"),
                2,
                "model.quant is b1.58, where TransformerLM has none");
        assertFails(journey("--set", "train.batch_size=0"), 2, "train.batch_size is 0");
        assertFails(Cli.run("journey", "--data", temp + "/none", "--out", out.toString()), 1, "none does not exist");
        assertThat(out).doesNotExist();
    }

    private Cli.Result journey(String... more) {
        List<String> args = new ArrayList<>(List.of("journey", "--data", corpus.toString(), "--out", out.toString()));
        args.addAll(TinyRuns.tiny());
        args.addAll(List.of(more));
        return Cli.run(args.toArray(String[]::new));
    }
}
