package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withinPercentage;
import static org.assertj.core.api.Assumptions.assumeThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.github.drakegpt.ops.Operations;
import java.io.IOException;
import java.lang.reflect.Method;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BenchCommandTest {
    private static final Set<String> PRODUCTS =
            Set.of("linear", "linearGrad", "attention", "attentionGrad", "packedLinear");

    @TempDir
    Path temp;

    /** What measures, and rows. */
    private static List<JsonNode> bench(String... arguments) throws IOException {
        List<String> command = new ArrayList<>(List.of("bench", "--seconds", "0.001", "--json"));
        command.addAll(List.of(arguments));
        Cli.Result result = Cli.run(command.toArray(String[]::new));
        assertThat(result.code()).as(result.err()).isZero();
        return result.json();
    }

    private static List<JsonNode> rows(String... arguments) throws IOException {
        List<JsonNode> lines = bench(arguments);
        return lines.subList(1, lines.size());
    }

    @Test
    void printsLinesOfJson() throws IOException {
        List<JsonNode> lines = bench("BigramLM", "--device", "cpu", "--threads", "1");

        JsonNode document = lines.get(0);
        assertThat(document.get("drakegpt").asText()).isEqualTo(Main.version());
        assertThat(Instant.parse(document.get("date").asText())).isBeforeOrEqualTo(Instant.now());
        assertThat(document.get("machine").get("Java").asText())
                .contains(Runtime.version().toString());
        assertThat(document.get("machine").get("system").asText()).startsWith(System.getProperty("os.name"));
        assertThat(document.get("device").asText()).startsWith("cpu, 1 thread, ");
        assertThat(document.get("libraries").get("Kernels").asText()).isNotBlank();
        assertThat(document.get("precision").asText()).isEqualTo("fp32");
        List<JsonNode> rows = lines.subList(1, lines.size());
        assertThat(rows)
                .extracting(row -> row.get("suite").asText())
                .startsWith("train", "generate", "generate", "kernels");
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
    void aTrainingStepIsSetBesideWhatItsModelTakes() throws IOException {
        JsonNode row =
                rows("TransformerLM", "--suite", "train", "--device", "cpu").get(0);

        assertThat(row.get("batch").asInt()).isEqualTo(32);
        assertThat(row.get("parameters").asInt()).isEqualTo(42_369);
        double seconds = row.get("ms_median").asDouble() / 1e3;
        assertThat(row.get("steps_per_s").asDouble()).isCloseTo(1 / seconds, withinPercentage(0.01));
        assertThat(row.get("tokens_per_s").asDouble()).isCloseTo(32 * 8 / seconds, withinPercentage(1));
        assertThat(row.get("flops_per_step").asDouble()).isEqualTo((6 * 40_033 + 12 * 3 * 32 * 8) * 32 * 8.0);
        assertThat(row.get("needed_bytes").asLong()).isEqualTo(16 * 42_369 + 32 * 8 * (4 * 1216 + 4 * 38 + 4 * 65 + 8));
        long corpus = 2_000_000; // a million characters
        assertThat(row.get("memory_bytes").asLong() - corpus)
                .isBetween(16L * 42_369, 2 * row.get("needed_bytes").asLong());
    }

    @Test
    void aTrainingStepReachesAShareOfTheMeasuredPeak() throws IOException {
        List<JsonNode> lines = bench("TransformerLM", "--suite", "train", "--device", "cpu");

        assertShare(lines.get(0), lines.get(1));
        assumeThat(lines.get(0).has("peak_gflop_per_s")).as("native code").isTrue();
        assertThat(Cli.run("bench", "BigramLM", "--suite", "train", "--device", "cpu", "--seconds", "0.001")
                        .out())
                .containsPattern("\n  peak  +[0-9,.]+ GFLOP/s\n")
                .containsPattern("\nBigramLM .* [0-9.]+%");
    }

    /** Where Java computes, no peak is measured. */
    private static void assertShare(JsonNode document, JsonNode row) {
        boolean isNative = document.get("libraries").get("Kernels").asText().startsWith("native kernels");
        assertThat(document.has("peak_gflop_per_s")).isEqualTo(isNative);
        assertThat(row.has("mfu_percent")).isEqualTo(isNative);
        if (isNative) {
            double share = row.get("mfu_percent").asDouble() / 100;
            assertThat(share).isGreaterThan(0).isLessThan(1);
            assertThat(share)
                    .isCloseTo(
                            row.get("flops_per_step").asDouble()
                                    / (row.get("ms_median").asDouble() * 1e6)
                                    / document.get("peak_gflop_per_s").asDouble(),
                            withinPercentage(0.01));
        }
    }

    /** The small model that came before has given its memory back. */
    @Test
    void theMemoryIsThatOfOneModel() throws IOException {
        List<JsonNode> both = rows("laptop", "BigramLM", "--suite", "train", "--device", "cpu");
        List<JsonNode> alone = rows("BigramLM", "--suite", "train", "--device", "cpu");

        assertThat(both.get(1).get("memory_bytes").asLong())
                .isEqualTo(alone.get(0).get("memory_bytes").asLong())
                .isLessThan(both.get(0).get("memory_bytes").asLong() / 4);
    }

    @Test
    void generatesOneTextAndSeveral() throws IOException {
        List<JsonNode> rows = rows("BlocksLM", "--suite", "generate");

        assertThat(rows).extracting(row -> row.get("batch").asInt()).containsExactly(1, 64);
        for (JsonNode row : rows) {
            assertThat(row.get("tokens_per_s").asDouble())
                    .isCloseTo(
                            1e3
                                    * row.get("batch").asInt()
                                    / row.get("ms_median").asDouble(),
                            withinPercentage(1));
        }
    }

    @Test
    void timesEveryOperation() throws IOException {
        List<JsonNode> rows = rows("BlocksLM", "default", "--suite", "kernels", "--device", "cpu");
        Set<String> timed = new TreeSet<>();
        Set<String> combinations = new HashSet<>();
        for (JsonNode row : rows) {
            String operation = row.get("operation").asText();
            timed.add(operation);
            assertThat(combinations.add(operation + row.get("shape").asText()))
                    .as("%s is there once", row)
                    .isTrue();
            assertThat(row.get("by").asText()).isEqualTo("drakegpt");
            assertThat(row.get("dtype").asText()).isEqualTo("f32");
            assertThat(row.get("bytes").asLong()).isPositive();
            assertThat(row.get("gb_per_s").asDouble())
                    .isCloseTo(
                            row.get("bytes").asLong() / row.get("us_median").asDouble() / 1e3, withinPercentage(0.01));
            assertThat(row.has("gflop_per_s")).isEqualTo(PRODUCTS.contains(operation));
        }
        assertThat(timed)
                .containsAll(Arrays.stream(Operations.class.getMethods())
                        .map(Method::getName)
                        .toList());
        JsonNode copy = rows.get(0);
        assertThat(copy.get("percent_of_copy").asDouble()).isEqualTo(100);
        JsonNode norm = rows.stream()
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

    /** A copy is from 128 MB to as many: more than this heap has. All others are timed, and not set beside a copy. */
    @Test
    void whatHasNoMemoryCostsOneRow() throws Exception {
        List<String> small = List.of("-Xmx200m");
        String[] command = {"bench", "default", "--suite", "kernels", "--device", "cpu", "--seconds", "0.001"};
        String[] asJson = Arrays.copyOf(command, command.length + 1);
        asJson[command.length] = "--json";
        Cli.Result result = Cli.runIn(temp, small, asJson);

        assertThat(result.code()).isEqualTo(1);
        assertThat(result.err())
                .contains("kernels default copy drakegpt (33554432) f32 was not measured: No memory for");
        List<JsonNode> rows = result.json().subList(1, result.json().size());
        assertThat(rows.get(0).fieldNames())
                .toIterable()
                .containsExactly("suite", "config", "operation", "by", "shape", "dtype", "error");
        assertThat(rows.get(0).get("error").asText()).contains("give Java more memory");
        assertThat(rows).hasSizeGreaterThan(30);
        for (JsonNode row : rows.subList(1, rows.size())) {
            assertThat(row.get("us_median").asDouble()).isPositive();
            assertThat(row.has("error")).isFalse();
            assertThat(row.has("percent_of_copy")).isFalse();
        }

        Cli.Result table = Cli.runIn(temp, small, command);
        assertThat(table.code()).isEqualTo(1);
        assertThat(table.out()).contains("\ndefault layerNorm ").doesNotContain("default copy");
    }

    @Test
    void printsATableOfOneSuite() {
        Cli.Result result = Cli.run("bench", "BigramLM", "BlocksLM", "--suite", "generate", "--seconds", "0.001");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out())
                .startsWith("drakegpt ")
                .contains("\n  Java  ", "\ndevice ", "\ngenerate ", "\nBigramLM ", "\nBlocksLM ", "tokens/s")
                .doesNotContain("\ntrain ", "\noperation ");
    }

    @Test
    void printsATableOfOperations() {
        Cli.Result result = Cli.run("bench", "default", "--suite", "kernels", "--seconds", "0.001");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out())
                .contains("\noperation ", "\ndefault layerNorm ", "% of copy")
                .doesNotContain("tokens/s");
    }

    @Test
    void printsATableOfTraining() {
        Cli.Result result = Cli.run("bench", "BigramLM", "--suite", "train", "--seconds", "0.001");

        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out()).contains("steps/s", "MB taken", "\nBigramLM ").doesNotContain("% of copy");
    }

    @Test
    void errorsAreOneSentence() {
        assertFails(Cli.run("bench", "BigramLM", "GPT", "--json"), 2, "no model 'GPT'");
        assertFails(Cli.run("bench", "--seconds", "0"), 2, "0.0 seconds are too short");
        assertFails(Cli.run("bench", "--seconds", "NaN"), 2, "NaN seconds are too short");
        assertFails(Cli.run("bench", "--suite", "nope"), 2, "'nope'");
        assertFails(Cli.run("bench", "--device", "gpu"), 2, "no device 'gpu'");
    }
}
