package io.github.drakegpt.tracking;

import io.github.drakegpt.data.MemoryFolder;
import io.github.drakegpt.data.Mutants;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Damaged metrics. */
class MetricsFileFuzzTest {
    @TempDir(factory = MemoryFolder.class)
    Path folder;

    @Test
    void metrics() throws Exception {
        new Mutants(
                        "metrics.jsonl",
                        Mutants.contents(Path.of("data/pretrained/BigramLM/metrics.jsonl")),
                        MetricsFile::read)
                .survive(folder.resolve("metrics.jsonl"), List.of(IOException.class));
    }
}
