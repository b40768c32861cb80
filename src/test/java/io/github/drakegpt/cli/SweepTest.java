package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.train.Settings;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code train --seeds} and {@code --sweep}. */
class SweepTest {
    @TempDir
    Path temp;

    private Path corpus;
    private Path parent;

    @BeforeEach
    void prepare() throws IOException {
        corpus = TinyRuns.corpus(temp.resolve("corpus"));
        parent = temp.resolve("sweep");
    }

    private Cli.Result train(String... more) {
        return Cli.run(TinyRuns.args(
                corpus,
                parent,
                Stream.concat(Stream.of("--model", "BigramLM"), Stream.of(more)).toArray(String[]::new)));
    }

    private double loss(String folder) throws IOException {
        return RunFolder.open(parent.resolve(folder)).state().finalValLoss();
    }

    private static String format(double loss) {
        return String.format(Locale.ROOT, "%.4f", loss);
    }

    @Test
    void everyCombinationIsTrainedWithEverySeed() throws IOException {
        Cli.Result result = train("--seed", "41", "--seeds", "2", "--sweep", "train.max_lr=0.5,0.001");

        assertThat(result.code()).as(result.err()).isZero();
        List<String> runs =
                List.of("max_lr=0.5,seed=41", "max_lr=0.5,seed=42", "max_lr=0.001,seed=41", "max_lr=0.001,seed=42");
        assertThat(parent.toFile().list())
                .containsExactlyInAnyOrder(
                        Stream.concat(runs.stream(), Stream.of("report.html")).toArray(String[]::new));
        Map<String, String> settings =
                RunFolder.settings(RunFolder.open(parent.resolve(runs.get(3))).config());
        assertThat(settings).containsEntry("train.seed", "42").containsEntry("train.max_lr", "0.001");
        List<String> rows =
                result.out().lines().map(line -> line.replaceAll(" {2,}", "|")).toList();
        assertThat(rows.get(0)).isEqualTo("settings|runs|val loss|deviation|lowest|highest");
        double a = loss(runs.get(0));
        double b = loss(runs.get(1));
        assertThat(rows.get(2).split("\\|"))
                .containsExactly(
                        "max_lr=0.5",
                        "2",
                        format((a + b) / 2),
                        format(Math.abs(a - b) / Math.sqrt(2)),
                        format(Math.min(a, b)),
                        format(Math.max(a, b)));
        assertThat(rows.get(3)).startsWith("max_lr=0.001|2|");
        assertThat(result.err()).contains("Run 1 of 4: ", "Run 4 of 4: ");
    }

    @Test
    void aSeedIsWhatItIsAlone() throws IOException {
        assertThat(train("--seeds", "2").code()).isZero();
        Path alone = TinyRuns.bigram(corpus, temp.resolve("alone"), "--seed", "43");

        TinyRuns.assertSameWeights(parent.resolve("seed=43"), alone);
        assertThat(loss("seed=42")).isNotEqualTo(loss("seed=43"));
    }

    @Test
    void theSameCommandGoesOn() throws IOException {
        assertThat(train("--seeds", "1").code()).isZero();
        Map<String, String> before = TinyRuns.contents(parent.resolve("seed=42"));

        Cli.Result result = train("--seeds", "2");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.err()).contains("already trained");
        assertThat(TinyRuns.contents(parent.resolve("seed=42"))).isEqualTo(before);
        assertThat(parent.resolve("seed=43")).exists();
        assertThat(parent.resolve("seed=42.1")).doesNotExist();
    }

    @Test
    void aRunThatDivergesLeavesTheOthers() {
        Cli.Result result = train("--sweep", "model.name=TransformerLM", "--sweep", "train.base_lr=1.0e+30,0.001");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.err()).contains("The loss is not a number at step ");
        assertThat(result.out()).contains("name=TransformerLM,base_lr=0.001  ").doesNotContain("base_lr=1");
    }

    @Test
    void listsAndNamesAreValuesToo() throws IOException {
        List<String> names = new ArrayList<>(
                sweep("--sweep", "train.betas=[0.9, 0.95],[0.8, 0.9]", "--sweep", "model.name=BigramLM,BlocksLM")
                        .keySet());

        assertThat(names)
                .containsExactly(
                        "betas=_0.9_0.95_,name=BigramLM",
                        "betas=_0.9_0.95_,name=BlocksLM",
                        "betas=_0.8_0.9_,name=BigramLM",
                        "betas=_0.8_0.9_,name=BlocksLM");
    }

    private static Map<String, Settings> sweep(String... args) throws IOException {
        SweepOptions options = new SweepOptions();
        new picocli.CommandLine(options).parseArgs(args);
        return options.runs(Settings::new);
    }

    @Test
    void errorsAreOneSentenceAndNothingIsTrained() {
        assertFails(train("--seeds", "0"), 2, "--seeds is 0; give 1 or more.");
        assertFails(train("--sweep", "train.max_lr"), 2, "--sweep train.max_lr has no values;");
        assertFails(train("--sweep", "train.max_lrr=1,2"), 2, "did you mean train.max_lr?");
        assertFails(train("--sweep", "train.batch_size=0,1"), 2, "train.batch_size is 0");
        assertFails(train("--sweep", "model.context_length=0,8"), 2, "model.context_length is 0");
        assertFails(train("--sweep", "device.precision=fp32,bf16"), 2, "belongs to the device");
        assertFails(train("--seeds", "2", "--sweep", "train.seed=1,2"), 2, "leave one of them out");
        assertFails(train("--seeds", "2", "--init-from", parent.toString()), 2, "leave out --init-from");
        assertFails(Cli.run("train", "--resume", parent.toString(), "--seeds", "2"), 2, "keeps its settings");
        assertThat(Files.exists(parent)).isFalse();
    }
}
