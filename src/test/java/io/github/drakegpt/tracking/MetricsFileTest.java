package io.github.drakegpt.tracking;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.train.TrainingListener.Evaluation;
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
    @TempDir
    Path folder;

    private Path file;
    private MetricsFile metrics;

    @BeforeEach
    void nameAFile() {
        file = folder.resolve("metrics.jsonl");
        metrics = new MetricsFile(file);
    }

    @Test
    void aLineIsOneJsonObject() throws IOException {
        metrics.onEvaluation(new Evaluation(500, 2.25, 2.5, 0.0018, 0.75, 123_456.6, 12.34567));

        assertThat(Files.readString(file))
                .isEqualTo("{\"step\":500,\"train_loss\":2.25,\"val_loss\":2.5,\"lr\":0.0018,\"grad_norm\":0.75,"
                        + "\"tokens_per_s\":123457,\"elapsed_s\":12.346}\n");
    }

    @Test
    void everyEvaluationAddsALine() throws IOException {
        evaluate(10, 20, 30);

        assertThat(Files.readString(file)).endsWith("\n");
        assertThat(steps()).containsExactly(10, 20, 30);
    }

    @Test
    void numbersThatJsonDoesNotHaveStillMakeJson() throws IOException {
        metrics.onEvaluation(new Evaluation(1, 2, 2, 0.1, Double.POSITIVE_INFINITY, Double.NaN, 1));

        JsonNode line = new ObjectMapper().readTree(Files.readString(file));
        assertThat(line.path("step").asInt()).isEqualTo(1);
        assertThat(line.path("grad_norm").asText()).isEqualTo("Infinity");
    }

    @Test
    void aNewRunBeginsWithoutAFile() throws IOException {
        metrics.onStart(startAt(1));

        assertThat(file).doesNotExist();
    }

    @Test
    void aResumedRunDropsTheLinesOfStepsThatItDoesAgain() throws IOException {
        evaluate(10, 20, 30, 40);
        String text = Files.readString(file);

        metrics.onStart(startAt(21));

        assertThat(steps()).containsExactly(10, 20);
        assertThat(text).startsWith(Files.readString(file));
        evaluate(30);
        assertThat(steps()).containsExactly(10, 20, 30);
    }

    @Test
    void aRunResumedAtItsLastLineKeepsAll() throws IOException {
        evaluate(10, 20);
        String text = Files.readString(file);

        metrics.onStart(startAt(21));

        assertThat(Files.readString(file)).isEqualTo(text);
    }

    @ParameterizedTest
    @ValueSource(strings = {"{", "{\"st", "{\"step\":1", "{\"step\":15,\"train_loss\":2.", "\0\0\0\0", "\n", "15\n"})
    void aLineThatWasTornIsDropped(String torn) throws IOException {
        evaluate(10);
        String text = Files.readString(file);
        Files.writeString(file, torn, StandardOpenOption.APPEND);

        metrics.onStart(startAt(100));

        assertThat(Files.readString(file)).isEqualTo(text);
    }

    @Test
    void aLineThatWasTornJustBeforeItsEndIsEnded() throws IOException {
        evaluate(10);
        String text = Files.readString(file);
        Files.writeString(file, text.stripTrailing());

        metrics.onStart(startAt(11));
        assertThat(Files.readString(file)).isEqualTo(text);
    }

    @Test
    void aFileThatCannotBeWrittenIsAnError() {
        MetricsFile orphan = new MetricsFile(folder.resolve("missing/metrics.jsonl"));

        assertThatThrownBy(() -> orphan.onEvaluation(new Evaluation(1, 2, 2, 0.1, 1, 1, 1)))
                .isInstanceOf(IOException.class)
                .hasMessageContainingAll("missing/metrics.jsonl", "its folder does not exist");
    }

    private void evaluate(int... steps) throws IOException {
        for (int step : steps) {
            metrics.onEvaluation(new Evaluation(step, 2, 2, 0.1, 1, 100, 1));
        }
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
        return new Start(null, null, "cpu", 1, 1, firstStep);
    }
}
