package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.tracking.EventsReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What {@code train} writes for TensorBoard is what it writes into metrics.jsonl. */
class TensorBoardEventsTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    /** By the keys of metrics.jsonl. */
    private static final Map<String, String> TAGS = Map.of(
            "loss", "loss/batch",
            "train_loss", "loss/train",
            "val_loss", "loss/val",
            "final_val_loss", "loss/final_val",
            "lr", "train/lr",
            "grad_norm", "train/grad_norm",
            "tokens_per_s", "train/tokens_per_s",
            "peak_memory_bytes", "train/peak_memory_bytes",
            "sample", "sample");

    @TempDir
    Path temp;

    @Test
    void aRunsEventsAreItsMetrics() throws IOException {
        Path corpus = TinyRuns.corpus(temp.resolve("corpus"));
        Path run = TinyRuns.train(corpus, temp.resolve("run"), "--set", "train.eval_interval=20");
        assertThat(shown(run)).isEqualTo(recorded(run));
        assertThat(shown(run)).containsKeys(TAGS.values().toArray(String[]::new));
        assertThat(shown(run).get("loss/batch")).hasSize(10);
        assertThat(shown(run).get("loss/val")).containsOnlyKeys(20L);
        assertThat(shown(run).get("loss/final_val")).containsOnlyKeys(20L);

        Cli.Result resumed = Cli.run("train", "--resume", run.toString(), "--iters", "50");
        assertThat(resumed.code()).as(resumed.err()).isZero();
        assertThat(shown(run)).isEqualTo(recorded(run));
        assertThat(shown(run).get("sample")).containsOnlyKeys(20L, 40L, 50L);
        assertThat(shown(run).get("loss/final_val")).containsOnlyKeys(20L, 50L);
        assertThat(RunFolder.open(run).eventFiles()).hasSize(2);
    }

    private static Map<String, TreeMap<Long, Object>> shown(Path run) throws IOException {
        return EventsReader.shown(RunFolder.open(run).eventFiles());
    }

    private static Map<String, TreeMap<Long, Object>> recorded(Path run) throws IOException {
        Map<String, TreeMap<Long, Object>> tags = new HashMap<>();
        tags.put("config", new TreeMap<>(Map.of(0L, Files.readString(run.resolve(RunFolder.CONFIG)))));
        for (String line : Files.readAllLines(run.resolve(RunFolder.METRICS))) {
            JsonNode metrics = JSON.readTree(line);
            TAGS.forEach((key, tag) -> {
                if (metrics.has(key)) {
                    JsonNode value = metrics.get(key);
                    tags.computeIfAbsent(tag, none -> new TreeMap<>())
                            .put(
                                    metrics.get("step").asLong(),
                                    value.isTextual() ? value.asText() : (Object) value.floatValue());
                }
            });
        }
        return tags;
    }
}
