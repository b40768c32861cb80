package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.checkpoint.RunFolder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code --checkpoint best} takes best.safetensors wherever a run's weights are read. */
class CheckpointOptionTest {
    @TempDir
    Path temp;

    private Path corpus;
    private Path run;
    /** A run whose last weights are the best ones of {@link #run}. */
    private Path other;

    @BeforeEach
    void trainTwoRuns() throws IOException {
        corpus = TinyRuns.corpus(temp.resolve("corpus"));
        run = TinyRuns.train(corpus, temp.resolve("run"));
        other = TinyRuns.train(corpus, temp.resolve("other"), "--set", "train.seed=7");
        Files.copy(other.resolve(RunFolder.MODEL), run.resolve(RunFolder.BEST), StandardCopyOption.REPLACE_EXISTING);
    }

    private static String out(String... command) {
        return out(Cli.run(command));
    }

    private static String out(Cli.Result result) {
        assertThat(result.code()).as(result.err()).isZero();
        return result.out();
    }

    @Test
    void textsAndScoresAreThoseOfTheBestWeights() throws Exception {
        for (List<String> command : List.of(
                List.of("generate", "--prompt", "It", "--length", "40", "--seed", "3"),
                List.of("score", "--string", "It rained on the roof"))) {
            String last = text(command, "--run", run.toString());
            assertThat(text(command, "--run", run.toString(), "--checkpoint", "last"))
                    .isEqualTo(last);
            assertThat(text(command, "--run", run.toString(), "--checkpoint", "best"))
                    .isEqualTo(text(command, "--run", other.toString()))
                    .isNotEqualTo(last);
        }
    }

    @Test
    void theBestWeightsArePacked() {
        out("quantize", "--run", run.toString(), "--to", "b1.58", "--checkpoint", "best");
        out("quantize", "--run", other.toString(), "--to", "b1.58");
        assertThat(temp.resolve("run-packed").resolve(RunFolder.MODEL))
                .hasSameBinaryContentAs(temp.resolve("other-packed").resolve(RunFolder.MODEL));
    }

    @Test
    void trainingBeginsWithTheBestWeights() {
        String[] begin = {"--set", "train.iters=1", "--set", "train.max_lr=0", "--set", "train.base_lr=0"};
        Path first = TinyRuns.train(
                corpus, temp.resolve("first"), concat(begin, "--init-from", run.toString(), "--checkpoint", "best"));
        Path second = TinyRuns.train(corpus, temp.resolve("second"), concat(begin, "--init-from", other.toString()));
        assertThat(first.resolve(RunFolder.MODEL)).hasSameBinaryContentAs(second.resolve(RunFolder.MODEL));
    }

    /** The report tells of the newest weights only. */
    @Test
    void theBestWeightsAreProfiledAndNotKept() throws IOException {
        String[] profile = {"profile", "--json", "--seconds", "0.01", "--run"};
        assertThat(out(concat(profile, run.toString(), "--checkpoint", "best"))).contains("val_loss");
        assertThat(run.resolve("profile.json")).doesNotExist();
        out(concat(profile, run.toString()));
        assertThat(run.resolve("profile.json")).exists();
    }

    @Test
    void whatHasNoBestWeightsSaysSo() throws IOException {
        out("quantize", "--run", run.toString(), "--to", "b1.58");
        Path packed = temp.resolve("run-packed");
        assertFails(
                Cli.run("score", "--string", "It rained", "--run", packed.toString(), "--checkpoint", "best"),
                1,
                packed + " has no best.safetensors");
        assertFails(
                Cli.run("score", "--string", "It rained", "--run", run.toString(), "--checkpoint", "first"),
                2,
                "--checkpoint");
        assertFails(
                Cli.run(TinyRuns.args(corpus, temp.resolve("new"), "--checkpoint", "best")),
                2,
                "give that run with --init-from");
    }

    /** Standard output, in a folder where texts may be kept. */
    private String text(List<String> command, String... more) throws Exception {
        return out(Cli.runIn(temp, concat(command.toArray(String[]::new), more)));
    }

    private static String[] concat(String[] first, String... more) {
        return Stream.concat(Stream.of(first), Stream.of(more)).toArray(String[]::new);
    }
}
