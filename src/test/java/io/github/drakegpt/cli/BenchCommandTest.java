package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withinPercentage;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.backend.Backend;
import java.io.IOException;
import java.lang.reflect.Method;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class BenchCommandTest {
    private static final Set<String> PRODUCTS =
            Set.of("linear", "linearGrad", "attention", "attentionGrad", "packedLinear");
    private static final Set<String> NO_OPERATIONS = Set.of(
            "name",
            "description",
            "precision",
            "newArena",
            "shards",
            "workers",
            "parallel",
            "record",
            "together",
            "newClock",
            "products",
            "close");

    @Test
    void printsOneJsonArray() throws IOException {
        Cli.Result result = Cli.run("bench", "BigramLM", "--seconds", "0.001", "--json");

        assertThat(result.code()).as(result.err()).isZero();
        JsonNode rows = new ObjectMapper().readTree(result.out());
        assertThat(rows).extracting(row -> row.get("suite").asText()).startsWith("train", "generate", "kernels");
        for (JsonNode row : rows) {
            boolean kernel = row.get("suite").asText().equals("kernels");
            String unit = kernel ? "us" : "ms";
            assertThat(row.get("config").asText()).isEqualTo(kernel ? "default" : "BigramLM");
            assertThat(row.get("runs").asInt()).isPositive();
            assertThat(row.get(unit + "_median").asDouble())
                    .isPositive()
                    .isBetween(
                            row.get(unit + "_p10").asDouble(),
                            row.get(unit + "_p90").asDouble());
        }
    }

    @Test
    void timesEveryOperation() throws IOException {
        Cli.Result result =
                Cli.run("bench", "BlocksLM", "default", "--suite", "kernels", "--seconds", "0.001", "--json");

        assertThat(result.code()).as(result.err()).isZero();
        JsonNode rows = new ObjectMapper().readTree(result.out());
        Set<String> timed = new TreeSet<>();
        Set<String> combinations = new HashSet<>();
        for (JsonNode row : rows) {
            String operation = row.get("operation").asText();
            timed.add(operation);
            assertThat(combinations.add(operation + row.get("shape").asText()))
                    .as("%s is there once", row)
                    .isTrue();
            assertThat(row.get("bytes").asLong()).isPositive();
            assertThat(row.get("gb_per_s").asDouble())
                    .isCloseTo(
                            row.get("bytes").asLong() / row.get("us_median").asDouble() / 1e3, withinPercentage(0.01));
            assertThat(row.has("gflop_per_s")).isEqualTo(PRODUCTS.contains(operation));
        }
        assertThat(timed)
                .containsExactlyInAnyOrderElementsOf(Arrays.stream(Backend.class.getMethods())
                        .map(Method::getName)
                        .filter(name -> !NO_OPERATIONS.contains(name))
                        .collect(Collectors.toSet()));
        JsonNode copy = rows.get(0);
        assertThat(copy.get("percent_of_copy").asDouble()).isEqualTo(100);
        JsonNode norm = rows.findParents("operation").stream()
                .filter(row -> row.get("operation").asText().equals("layerNorm"))
                .findFirst()
                .orElseThrow();
        assertThat(norm.get("shape").asText()).isEqualTo("(256, 32)");
        // x, weight, bias; out, stats
        assertThat(norm.get("bytes").asInt()).isEqualTo(4 * (256 * 32 + 32 + 32 + 256 * 32 + 256 * 2));
        assertThat(norm.get("percent_of_copy").asDouble())
                .isCloseTo(
                        100
                                * norm.get("gb_per_s").asDouble()
                                / copy.get("gb_per_s").asDouble(),
                        withinPercentage(0.01));
    }

    @Test
    void printsATableOfOneSuite() {
        Cli.Result result = Cli.run("bench", "BigramLM", "BlocksLM", "--suite", "generate", "--seconds", "0.001");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out())
                .contains("generate BigramLM", "generate BlocksLM")
                .doesNotContain("train ", "operation");
    }

    @Test
    void printsATableOfOperations() {
        Cli.Result result = Cli.run("bench", "default", "--suite", "kernels", "--seconds", "0.001");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out())
                .startsWith("operation ")
                .contains("default layerNorm ", "% of copy")
                .doesNotContain("tokens/s");
    }

    @Test
    void errorsAreOneSentence() {
        assertFails(Cli.run("bench", "GPT"), 2, "no model 'GPT'");
        assertFails(Cli.run("bench", "--seconds", "0"), 2, "0.0 seconds are too short");
        assertFails(Cli.run("bench", "--seconds", "NaN"), 2, "NaN seconds are too short");
        assertFails(Cli.run("bench", "--suite", "nope"), 2, "'nope'");
        assertFails(Cli.run("bench", "--device", "gpu"), 2, "no device 'gpu'");
    }
}
