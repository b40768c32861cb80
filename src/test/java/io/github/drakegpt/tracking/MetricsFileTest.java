package io.github.drakegpt.tracking;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.train.TrainingListener.Start;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MetricsFileTest {
    private static final ModelConfig MODEL =
            new ModelConfig(Models.BIGRAM, 5, 3, 4, 4, 2, 1, 0, false, Init.PYTORCH, Quantization.NONE, false);

    @TempDir
    Path folder;

    private Path file;
    private RunFolder run;
    private MetricsFile metrics;

    @BeforeEach
    void makeARun() throws IOException {
        folder = folder.resolve("run");
        file = folder.resolve("metrics.jsonl");
        ObjectMapper json = new ObjectMapper();
        ObjectNode config = json.createObjectNode().set("model", json.valueToTree(MODEL));
        run = RunFolder.create(folder, config, CharTokenizer.of("abcde"));
        metrics = new MetricsFile(run);
    }

    @Test
    void aLineIsOneJsonObject() throws IOException {
        metrics.add(new Metrics(450, 2.125, null, null, null, 0.001, 0.5, 123_456, null, 11.5, null));
        metrics.add(new Metrics(
                500, 2.0, 2.25, 2.5, null, 0.0018, 0.75, 123_457, 1_000_000L, 12.346, "Said \"no\"\n</script>"));

        assertThat(Files.readString(file))
                .isEqualTo("{\"step\":450,\"loss\":2.125,\"lr\":0.001,\"grad_norm\":0.5,"
                        + "\"tokens_per_s\":123456,\"elapsed_s\":11.5}\n"
                        + "{\"step\":500,\"loss\":2.0,\"train_loss\":2.25,\"val_loss\":2.5,\"lr\":0.0018,\"grad_norm\":0.75,"
                        + "\"tokens_per_s\":123457,\"peak_memory_bytes\":1000000,\"elapsed_s\":12.346,"
                        + "\"sample\":\"Said \\\"no\\\"\\n</script>\"}\n");
    }

    @Test
    void whatWasWrittenIsReadAgain() throws IOException {
        List<Metrics> written = List.of(
                new Metrics(450, 2.125, null, null, null, 0.001, 0.5, 123_456, null, 11.5, null),
                new Metrics(500, 2.0, 2.25, 2.5, null, 0.0018, Double.POSITIVE_INFINITY, 7, 1L, 12.346, "a\u2028b\n"));
        for (Metrics line : written) {
            metrics.add(line);
        }

        assertThat(MetricsFile.read(file)).isEqualTo(written);
        assertThat(MetricsFile.read(folder.resolve("missing.jsonl"))).isEmpty();
    }

    @Test
    void linesOfOlderVersionsAreRead() throws IOException {
        Files.writeString(
                file,
                "{\"step\":500,\"train_loss\":2.25,\"val_loss\":2.5,\"lr\":0.0018,\"grad_norm\":0.75,"
                        + "\"tokens_per_s\":123457,\"elapsed_s\":12.346,\"new\":1}\n");

        assertThat(MetricsFile.read(file))
                .containsExactly(new Metrics(500, null, 2.25, 2.5, null, 0.0018, 0.75, 123_457, null, 12.346, null));
    }

    @Test
    void everyEvaluationAddsALine() throws IOException {
        evaluate(10, 20, 30);

        assertThat(Files.readString(file)).endsWith("\n");
        assertThat(steps()).containsExactly(10, 20, 30);
    }

    @Test
    void numbersThatJsonDoesNotHaveStillMakeJson() throws IOException {
        metrics.add(new Metrics(1, 2.0, 2.0, 2.0, null, 0.1, Double.POSITIVE_INFINITY, 1, 1L, 1, ""));

        JsonNode line = new ObjectMapper().readTree(Files.readString(file));
        assertThat(line.path("step").asInt()).isEqualTo(1);
        assertThat(line.path("grad_norm").asText()).isEqualTo("Infinity");
    }

    @Test
    void aNewRunBeginsWithoutAFile() throws IOException {
        metrics.start(startAt(1));

        assertThat(file).doesNotExist();
    }

    @Test
    void aResumedRunDropsTheLinesOfStepsThatItDoesAgain() throws IOException {
        evaluate(10, 20, 30, 40);
        String text = Files.readString(file);

        metrics.start(startAt(21));

        assertThat(steps()).containsExactly(10, 20);
        assertThat(text).startsWith(Files.readString(file));
        evaluate(30);
        assertThat(steps()).containsExactly(10, 20, 30);
    }

    @Test
    void aRunResumedAtItsLastLineKeepsAll() throws IOException {
        evaluate(10, 20);
        String text = Files.readString(file);

        metrics.start(startAt(21));

        assertThat(Files.readString(file)).isEqualTo(text);
    }

    @ParameterizedTest
    @ValueSource(strings = {"{", "{\"st", "{\"step\":1", "{\"step\":15,\"train_loss\":2.", "\0\0\0\0", "\n", "15\n"})
    void aLineThatWasTornIsDropped(String torn) throws IOException {
        evaluate(10);
        String text = Files.readString(file);
        Files.writeString(file, torn, StandardOpenOption.APPEND);

        metrics.start(startAt(100));

        assertThat(Files.readString(file)).isEqualTo(text);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"{", "{\"st", "{\"step\":1", "{\"step\":15,\"train_loss\":2.", "\0\0\0\0", "\n", "15\n", "null\n"
            })
    void aLineThatWasTornIsNotRead(String torn) throws IOException {
        evaluate(10, 20);
        Files.writeString(file, torn, StandardOpenOption.APPEND);

        assertThat(MetricsFile.read(file)).extracting(Metrics::step).containsExactly(10, 20);
    }

    @Test
    void aLineTornWithinACharacterIsNotRead() throws IOException {
        evaluate(10);
        Files.write(file, new byte[] {'{', '"', (byte) 0xe2, (byte) 0x82}, StandardOpenOption.APPEND);

        assertThat(MetricsFile.read(file)).extracting(Metrics::step).containsExactly(10);
    }

    @Test
    void aLineThatWasTornJustBeforeItsEndIsEnded() throws IOException {
        evaluate(10);
        String text = Files.readString(file);
        Files.writeString(file, text.stripTrailing());

        metrics.start(startAt(11));
        assertThat(Files.readString(file)).isEqualTo(text);
    }

    @Test
    void aFolderInItsPlaceIsAnError() throws IOException {
        Files.createDirectory(file);

        assertThatThrownBy(() -> MetricsFile.read(file))
                .hasMessage(file + " is a folder, where a run has its metrics; remove it.");
    }

    @Test
    void aFileThatCannotBeWrittenIsAnError() throws IOException {
        Files.move(folder, folder.resolveSibling("other"));

        assertThatThrownBy(() -> metrics.add(evaluation(1)))
                .isInstanceOf(IOException.class)
                .hasMessageContainingAll("run/metrics.jsonl", "its folder does not exist");
    }

    @Test
    void nothingIsWrittenThroughALink() throws IOException {
        Path other = folder.resolveSibling("other");
        Files.createSymbolicLink(file, other);

        assertThatThrownBy(() -> metrics.add(evaluation(1)))
                .isInstanceOf(IOException.class)
                .hasMessage(
                        "Could not write " + file + ": it is a link, and nothing is written through links; mend that"
                                + " or choose another place, then run it again.");
        assertThat(other).doesNotExist();
    }

    private void evaluate(int... steps) throws IOException {
        for (int step : steps) {
            metrics.add(evaluation(step));
        }
    }

    private static Metrics evaluation(int step) {
        return new Metrics(step, 2.0, 2.0, 2.0, null, 0.1, 1.0, 100, 1L, 1, "text");
    }

    private List<Integer> steps() throws IOException {
        ObjectMapper json = new ObjectMapper();
        List<Integer> steps = new java.util.ArrayList<>();
        for (String line : Files.readAllLines(file)) {
            steps.add(json.readTree(line).get("step").asInt());
        }
        return steps;
    }

    private static Start startAt(int firstStep) {
        return new Start(null, null, "cpu", Precision.FP32, 1, 1, firstStep, null);
    }
}
