package io.github.drakegpt;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.backend.cuda.Simt;
import io.github.drakegpt.model.Models;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The whole of {@code gpu-check} at small sizes, on the SIMT driver: what it starts on a GPU starts here too. */
@Tag("simt")
class SimtGpuCheckTest {
    @TempDir
    Path temp;

    private List<JsonNode> lines(String file) throws IOException {
        List<JsonNode> lines = new ArrayList<>();
        for (String line : Files.readAllLines(temp.resolve(file))) {
            lines.add(new ObjectMapper().readTree(line));
        }
        return lines;
    }

    @Test
    void everyStageIsRehearsed() throws Exception {
        Simt.build();
        ProcessBuilder builder = new ProcessBuilder(
                        "scripts/gpu-check",
                        "--device",
                        "simt",
                        "--budget",
                        "3000", // for machines of any speed
                        "--tests",
                        "SimtCastTest",
                        "--out",
                        temp.toString())
                .redirectErrorStream(true);
        builder.environment().put("GPU_CHECK_CLASSPATH", System.getProperty("java.class.path"));
        builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
        builder.environment().put("DRAKEGPT_JAVA_OPTS", "-XX:TieredStopAtLevel=1"); // as in pom.xml
        Process process = builder.start();
        process.getOutputStream().close();
        String output = new String(process.getInputStream().readAllBytes());
        assertThat(process.waitFor()).as(() -> output + log()).isZero();

        Map<String, String> stages = lines("gpu-check.jsonl").stream()
                .filter(line -> line.has("stage"))
                .collect(Collectors.toMap(
                        line -> line.get("stage").asText(),
                        line -> line.get("status").asText()));
        assertThat(stages)
                .containsOnly(
                        Map.entry("doctor", "ok"),
                        Map.entry("smoke", "ok"),
                        Map.entry("train", "ok"),
                        Map.entry("tests", "ok"),
                        Map.entry("bench", "ok"),
                        Map.entry("products", "skipped"),
                        Map.entry("compare", "skipped"),
                        Map.entry("until", "ok"),
                        Map.entry("sanitize", "skipped"));
        assertThat(lines("smoke.jsonl")).noneMatch(line -> line.has("error"));
        assertThat(lines("smoke.jsonl").stream().filter(line -> line.has("model")))
                .hasSize(4 * (Models.NAMES.size() + 2)); // fused or not, fp32 and bf16; two are quantized
        assertThat(lines("train.jsonl"))
                .extracting(line -> line.get("model").asText())
                .containsExactlyElementsOf(Models.NAMES);
        assertThat(lines("tests.jsonl")).singleElement().satisfies(line -> {
            assertThat(line.get("class").asText()).isEqualTo("SimtCastTest");
            assertThat(line.get("successful").asInt()).isPositive();
        });
        assertThat(Files.size(temp.resolve("bench.jsonl"))).isPositive();
        assertThat(lines("compare.jsonl"))
                .singleElement()
                .satisfies(line -> assertThat(line.get("reached").asBoolean()).isTrue());
    }

    private String log() {
        try {
            return Files.readString(temp.resolve("gpu-check.log"));
        } catch (IOException e) {
            return e.toString();
        }
    }
}
