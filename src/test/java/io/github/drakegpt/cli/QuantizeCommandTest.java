package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.Safetensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class QuantizeCommandTest {
    private static final String LYRIC = "It rained on the roof, and we sang.";

    @TempDir
    static Path shared;

    private static Path corpus;
    private static Path plain;

    @TempDir
    Path temp;

    @BeforeAll
    static void train() throws IOException {
        corpus = TinyRuns.corpus(shared.resolve("corpus"));
        plain = TinyRuns.train(corpus, shared.resolve("plain"));
    }

    /** Packed weights are the run's, in less space: the same scores and the same text. */
    @ParameterizedTest
    @ValueSource(strings = {"bitnet", "b1.58"})
    void packsATrainedRun(String quant) throws IOException {
        Path run = TinyRuns.train(corpus, temp.resolve("run"), "--quant", quant);
        Cli.Result result = Cli.run("quantize", "--run", run.toString());
        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out()).contains("fp32", "bf16", quant + ", packed");

        Path packed = temp.resolve("run-packed");
        assertThat(Files.size(packed.resolve(RunFolder.MODEL)))
                .isLessThan(Files.size(run.resolve(RunFolder.MODEL)) / 2);
        Map<String, String> metadata =
                Safetensors.read(packed.resolve(RunFolder.MODEL)).metadata();
        assertThat(metadata).containsEntry("format", "drakegpt-packed");
        assertThat(metadata)
                .containsEntry("layout", quant.equals("bitnet") ? "tiles-16x256-1bit" : "tiles-16x128-2bit");
        assertThat(score(packed)).isEqualTo(score(run));
        assertThat(text(packed)).isEqualTo(text(run));
    }

    @ParameterizedTest
    @CsvSource({"bitnet", "b1.58"})
    void roundsARunInFullPrecisionAndShowsWhatThatCosts(String to) throws IOException {
        Path out = temp.resolve("rounded");
        Cli.Result result = Cli.run("quantize", "--run", plain.toString(), "--to", to, "--out", out.toString());
        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out()).contains(to + ", rounded without training", "of fp32");
        JsonNode model = new ObjectMapper()
                .readTree(out.resolve(RunFolder.CONFIG).toFile())
                .get("model");
        assertThat(model.get("quant").asText()).isEqualTo(to);
        assertThat(model.get("sub_norm").asBoolean()).isFalse();
        assertThat(score(out)).isNotEqualTo(score(plain));
    }

    @Test
    void weightsThatOneBitCannotExpressAreAFailure() throws IOException {
        Path run = TinyRuns.train(corpus, temp.resolve("run"), "--quant", "bitnet");
        TinyRuns.overwriteWeights(run, i -> 0);
        assertFails(Cli.run("quantize", "--run", run.toString()), 1, "all its weights are 0");
        assertThat(temp.resolve("run-packed")).doesNotExist();
    }

    @Test
    void whatCannotBeQuantizedIsRefused() throws IOException {
        Path bigram = TinyRuns.bigram(corpus, temp.resolve("bigram"));
        Path ternary = TinyRuns.train(corpus, temp.resolve("ternary"), "--quant", "b1.58");
        assertFails(Cli.run("quantize", "--run", bigram.toString()), 2, "BigramLM has nothing to quantize");
        assertFails(Cli.run("quantize", "--run", plain.toString()), 2, "say with --to bitnet or --to b1.58");
        assertFails(Cli.run("quantize", "--run", plain.toString(), "--to", "int8"), 2, "no quantization 'int8'");
        assertFails(
                Cli.run("quantize", "--run", ternary.toString(), "--to", "bitnet"),
                2,
                "was trained for b1.58 and cannot become bitnet");
        assertFails(
                Cli.run("quantize", "--run", ternary.toString(), "--to", "none"),
                2,
                "was trained for b1.58 and cannot become none");
        assertThat(Cli.run("quantize", "--run", ternary.toString()).code()).isZero();
        assertFails(Cli.run("quantize", "--run", ternary.toString()), 2, "already holds a run; choose another folder.");
        Path packed = temp.resolve("ternary-packed");
        assertFails(Cli.run("quantize", "--run", packed.toString()), 2, "holds packed weights");
    }

    /** A path that ends in "." has the name of the folder that it leads to. */
    @Test
    void packsBesideTheRunHoweverItIsNamed() throws IOException {
        Path run = TinyRuns.train(corpus, temp.resolve("run"), "--quant", "b1.58");
        Map<String, String> before = TinyRuns.contents(run);
        Cli.Result result = Cli.run("quantize", "--run", run + "/.");
        assertThat(result.code()).as(result.err()).isZero();
        assertThat(temp.resolve("run-packed").resolve(RunFolder.MODEL)).exists();
        assertThat(TinyRuns.contents(run)).isEqualTo(before);
    }

    @Test
    void packedWeightsCannotBeTrained() throws IOException {
        Path run = TinyRuns.train(corpus, temp.resolve("run"), "--quant", "b1.58");
        assertThat(Cli.run("quantize", "--run", run.toString()).code()).isZero();
        Path packed = temp.resolve("run-packed");
        Map<String, String> before = TinyRuns.contents(packed);
        assertFails(
                Cli.run("train", "--resume", packed.toString()), 2, "holds packed weights, which cannot be trained");
        assertFails(
                Cli.run(TinyRuns.args(
                        corpus, temp.resolve("next"), "--quant", "b1.58", "--init-from", packed.toString())),
                2,
                "holds packed weights, which cannot be trained");
        assertThat(TinyRuns.contents(packed)).isEqualTo(before);
    }

    /** Only the loss needs the corpus. */
    @Test
    void aRunWithoutItsCorpusIsPackedWithoutALoss() throws IOException {
        Path own = TinyRuns.corpus(temp.resolve("own"), "no such letters: xyz! ".repeat(50));
        Path run = TinyRuns.train(own, temp.resolve("run"), "--quant", "b1.58");
        Files.move(own, temp.resolve("moved"));
        Cli.Result result = Cli.run("quantize", "--run", run.toString());
        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.err()).contains("The run's corpus is not here, so the loss was not measured");
        assertThat(result.out()).contains("b1.58, packed").doesNotContain("Loss in nats");
        assertFails(
                Cli.run("quantize", "--run", run.toString(), "--out", temp + "/other", "--data", corpus.toString()),
                2,
                "has another vocabulary than " + run);
        assertThat(temp.resolve("other")).doesNotExist();
    }

    @Test
    void aPretrainedModelIsPackedUnderRuns() throws Exception {
        Cli.Result result = Cli.runIn(temp, "quantize", "--model", "TransformerLM", "--to", "b1.58");
        assertThat(result.code()).as(result.err()).isZero();
        assertThat(temp.resolve("runs/TransformerLM-packed/model.safetensors")).exists();
    }

    private static String score(Path run) {
        Cli.Result result = Cli.run("score", "--run", run.toString(), "--string", LYRIC, "--json");
        assertThat(result.code()).as(result.err()).isZero();
        return result.out();
    }

    private static String text(Path run) {
        Cli.Result result = Cli.run("generate", "--run", run.toString(), "--length", "60", "--seed", "3");
        assertThat(result.code()).as(result.err()).isZero();
        return result.out();
    }
}
