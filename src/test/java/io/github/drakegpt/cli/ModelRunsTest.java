package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.TrainingState;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Which run a model's name stands for, and the list that shows it. */
class ModelRunsTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String[] UNTRAINED = {"--set", "train.max_lr=0", "--set", "train.base_lr=0"};

    @TempDir
    Path temp;

    private Path mine;
    private Path other;
    private Path home;

    @BeforeEach
    void prepare() throws IOException {
        other = TinyRuns.corpus(temp.resolve("data/other"), "abc xyz ".repeat(150));
        mine = TinyRuns.corpus(temp.resolve("data/mine")); // the last that setup made
        home = temp.resolve("home");
        TinyRuns.bigram(mine, home.resolve("data/pretrained/BigramLM"), UNTRAINED);
    }

    private Cli.Result in(String... args) throws IOException, InterruptedException {
        Cli.Result result = Cli.runIn(temp, List.of("-Ddrakegpt.home=" + home), args);
        assertThat(result.code()).as(result.err()).isZero();
        return result;
    }

    /** The line that says which run is used. */
    private String used(String... more) throws IOException, InterruptedException {
        List<String> args = new ArrayList<>(List.of("score", "--string", "a ca", "--model", "BigramLM"));
        args.addAll(List.of(more));
        return in(args.toArray(String[]::new))
                .err()
                .lines()
                .filter(line -> line.startsWith("Using "))
                .reduce((a, b) -> a + b)
                .orElseThrow();
    }

    /** As if training had been interrupted at step 10. */
    private static void interrupt(Path run) throws IOException {
        Path file = run.resolve(RunFolder.STATE);
        ObjectNode state = (ObjectNode) JSON.readTree(file.toFile());
        state.put("step", 10).put("best_step", 10).put("val_loss", 0.5).put("best_val_loss", 0.5);
        state.remove(List.of("final_val_loss", "sha256"));
        Files.writeString(file, state.toString());
    }

    @Test
    void aModelIsItsFinishedRunOnTheSameCorpusWithTheLowestLoss() throws Exception {
        assertThat(used()).startsWith("Using " + home.resolve("data/pretrained/BigramLM") + ": BigramLM, 20 steps,");

        TinyRuns.bigram(other, temp.resolve("runs/other"));
        interrupt(TinyRuns.bigram(mine, temp.resolve("runs/interrupted")));
        Files.createDirectories(temp.resolve("runs/broken"));
        Files.writeString(temp.resolve("runs/broken/config.json"), "{");
        assertThat(used()).as("none is finished and of this corpus").startsWith("Using " + home);

        Path good = TinyRuns.bigram(mine, temp.resolve("runs/journey/good"));
        TinyRuns.bigram(mine, temp.resolve("runs/worse"), UNTRAINED);
        TrainingState state = RunFolder.open(good).state();
        assertThat(used())
                .isEqualTo(String.format(
                        Locale.ROOT,
                        "Using runs/journey/good: BigramLM, 20 steps, val loss %.4f, corpus %s",
                        state.finalValLoss(),
                        mine));
        assertThat(used("--checkpoint", "best"))
                .contains(String.format(Locale.ROOT, " val loss %.4f,", state.shownBestValLoss()));
        assertThat(used("--pretrained")).startsWith("Using " + home);

        in("setup", "--use", "other");
        assertThat(used()).startsWith("Using runs/other: ");
    }

    @Test
    void anotherCorpusIsSaid() throws Exception {
        TinyRuns.bigram(other, temp.resolve("runs/other"));
        assertThat(in("score", "--string", "It rained", "--model", "BigramLM").err())
                .contains(
                        "No run of BigramLM under runs is of the corpus in use, data/mine (the last that setup made or was"
                                + " told to use); `drakegpt list` shows them, --run takes one.");
    }

    @Test
    void whatThereIsNotIsSaid() throws Exception {
        List<String> java = List.of("-Ddrakegpt.home=" + home);
        assertFails(
                Cli.runIn(temp, java, "generate", "--model", "BlocksLM"),
                1,
                "There is no finished run of BlocksLM under runs on the corpus in use, and no pretrained one; train it with");
        assertFails(
                Cli.runIn(temp, java, "generate", "--model", "BlocksLM", "--pretrained"),
                1,
                "There is no pretrained BlocksLM; choose one of BigramLM.");
        assertFails(Cli.run("generate", "--run", "x", "--pretrained"), 2, "leave out --model and --pretrained");
    }

    @Test
    void runsAreListed() throws Exception {
        assertThat(in("list").out().lines()).hasSize(3); // header, and the pretrained one

        TinyRuns.bigram(other, temp.resolve("runs/other"));
        Path good = TinyRuns.bigram(mine, temp.resolve("runs/journey/good"));
        interrupt(TinyRuns.bigram(mine, temp.resolve("runs/interrupted")));

        TrainingState state = RunFolder.open(good).state();
        String list = in("list").out();
        assertThat(list.lines().map(line -> line.replaceAll(" {2,}", "|")))
                .satisfiesExactly(
                        header -> assertThat(header).isEqualTo("|run|model|corpus|steps|val loss|saved"),
                        line -> assertThat(line).startsWith("-"),
                        run -> assertThat(run)
                                .startsWith("|runs/interrupted|BigramLM|" + mine + "|10 of 20|~0.5000|20"),
                        run -> assertThat(run)
                                .startsWith(String.format(
                                        Locale.ROOT,
                                        "* runs/journey/good|BigramLM|%s|20|%.4f|",
                                        mine,
                                        state.finalValLoss())),
                        run -> assertThat(run).startsWith("|runs/other|BigramLM|" + other + "|20|"),
                        run -> assertThat(run).startsWith("|" + home + "/data/pretrained/BigramLM|"));

        JsonNode runs = JSON.readTree(in("list", "--json").out());
        assertThat(runs).hasSize(4);
        JsonNode json = runs.get(1);
        assertThat(json.path("run").asText()).isEqualTo("runs/journey/good");
        assertThat(json.path("final_val_loss").asDouble()).isEqualTo(state.finalValLoss());
        assertThat(json.path("finished").asBoolean()).isTrue();
        assertThat(json.path("taken_by_model").asBoolean()).isTrue();
        assertThat(runs.get(0).has("final_val_loss")).isFalse();
        assertThat(runs.get(0).path("finished").asBoolean()).isFalse();
        assertThat(in("list", "runs/journey").out())
                .contains("runs/journey/good")
                .doesNotContain("runs/other");
    }
}
