package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.TrainingState;
import io.github.drakegpt.tracking.Metrics;
import io.github.drakegpt.tracking.MetricsFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A run's README.md, as training leaves it. */
class ModelCardTest {
    @TempDir
    Path temp;

    private Path run;
    private Path card;

    @BeforeEach
    void train() throws IOException {
        Path corpus = TinyRuns.corpus(temp.resolve("a|`corpus"));
        run = TinyRuns.train(corpus, temp.resolve("run"), "--quant", "b1.58");
        card = run.resolve(RunFolder.README);
    }

    @Test
    void saysWhatTheRunIs() throws IOException {
        TrainingState state = RunFolder.open(run).state();
        List<Metrics> metrics = MetricsFile.read(run.resolve(RunFolder.METRICS));
        String sample = metrics.get(metrics.size() - 1).sample();

        assertThat(Files.readString(card))
                .contains("# TransformerLM-b1.58\n")
                .contains("| corpus | `` " + temp
                        + "/a\\|`corpus ``: 1,044 characters to train on, 116 to validate on, 21")
                .contains(" bytes of weights, packed |\n")
                .contains("| training | 20 of 20 steps in ")
                .contains(String.format(
                        Locale.ROOT,
                        "| val loss | %.4f nats per character, over the whole validation split |\n",
                        state.finalValLoss()))
                .contains(String.format(Locale.ROOT, "| train loss | %.4f, an estimate |\n", state.trainLoss()))
                .contains("\nAfter step 20, from nothing:\n\n```\n" + sample.strip() + "\n```\n")
                .contains("\ndrakegpt generate --run . ")
                .contains("| `train.schedule` | `bitnet` |\n");
    }

    @Test
    void isWrittenAnewWhenTrainingGoesOn() throws IOException {
        assertThat(Cli.run("train", "--resume", run.toString(), "--iters", "30").code())
                .isZero();

        assertThat(Files.readString(card))
                .contains("| training | 30 of 30 steps in ", "\nAfter step 30, from nothing:\n");
    }

    @Test
    void whatSomebodyElseWroteStays() throws IOException {
        Files.writeString(card, "# My notes\n");

        assertThat(Cli.run("train", "--resume", run.toString(), "--iters", "30").code())
                .isZero();

        assertThat(card).hasContent("# My notes\n");
    }
}
