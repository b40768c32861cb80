package io.github.drakegpt.tracking;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class MetricsDocumentTest {
    @Test
    void theDocumentExplainsEveryKeyInItsOrder() throws IOException {
        Metrics all = new Metrics(1, 1.0, 1.0, 1.0, 1.0, 1, 1.0, 1, 1L, 1, "a");
        List<String> keys = new ArrayList<>();
        new ObjectMapper().readTree(MetricsFile.line(all)).fieldNames().forEachRemaining(keys::add);
        List<String> explained = Files.readAllLines(Path.of("docs/metrics.md")).stream()
                .filter(line -> line.startsWith("| `"))
                .map(line -> line.substring(3, line.indexOf('`', 3)))
                .toList();

        assertThat(explained).isEqualTo(keys);
    }
}
