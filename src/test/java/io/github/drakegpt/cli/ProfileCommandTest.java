package io.github.drakegpt.cli;

import static io.github.drakegpt.cli.TinyRuns.assertFails;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.checkpoint.RunFolder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ProfileCommandTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    @TempDir
    static Path shared;

    private static Path corpus;
    private static Path plain;
    private static Path ternary;

    @TempDir
    Path temp;

    @BeforeAll
    static void train() throws IOException {
        corpus = TinyRuns.corpus(shared.resolve("corpus"));
        plain = TinyRuns.train(corpus, shared.resolve("plain"));
        ternary = TinyRuns.train(corpus, shared.resolve("ternary"), "--quant", "b1.58");
    }

    @Test
    void comparesRuns() throws IOException {
        Path trace = temp.resolve("trace.json");
        assertThat(Cli.run("quantize", "--run", ternary.toString(), "--out", temp + "/packed")
                        .code())
                .isZero();
        Cli.Result result = profile(
                "--run",
                plain.toString(),
                "--run",
                ternary.toString(),
                "--run",
                temp + "/packed",
                "--json",
                "--trace",
                trace.toString());
        assertThat(result.code()).as(result.err()).isZero();
        JsonNode runs = JSON.readTree(result.out()).get("runs");
        assertThat(runs).hasSize(3);
        for (JsonNode run : runs) {
            assertThat(run.get("peak_bytes").asLong())
                    .isGreaterThan(run.get("weight_bytes").asLong());
            assertThat(run.get("speed"))
                    .extracting(speed -> speed.get("phase").asText() + speed.get("batch"))
                    .containsExactly("prefill1", "decode1", "prefill8", "decode8", "prefill64", "decode64");
            for (JsonNode speed : run.get("speed")) {
                double p50 = speed.get("p50_ms").asDouble();
                int tokens = speed.get("batch").asInt()
                        * (speed.get("phase").asText().equals("prefill") ? 7 : 1); // a context of 8
                assertThat(p50)
                        .isPositive()
                        .isLessThanOrEqualTo(speed.get("p90_ms").asDouble());
                assertThat(speed.get("tokens_per_s").asDouble())
                        .isCloseTo(tokens * 1000 / p50, within(1e-6 * tokens * 1000 / p50));
            }
            JsonNode config = JSON.readTree(
                    Path.of(run.get("run").asText()).resolve(RunFolder.CONFIG).toFile());
            assertThat(run.get("quant").asText())
                    .isEqualTo(config.at("/model/quant").asText());
            double score = JSON.readTree(
                            Cli.run("score", "--run", run.get("run").asText(), "--text", val().toString(), "--json")
                                    .out())
                    .get("nll")
                    .asDouble();
            assertThat(run.get("val_loss").asDouble()).isEqualTo(score);
        }
        assertThat(runs.get(0).get("agreement").asDouble()).isEqualTo(1);
        assertThat(runs.get(1).get("agreement").asDouble()).isBetween(0.0, 0.999);
        assertThat(runs.get(2).get("agreement")).isEqualTo(runs.get(1).get("agreement"));
        assertThat(runs.get(2).get("val_loss")).isEqualTo(runs.get(1).get("val_loss"));
        assertThat(runs.get(1).get("val_loss_difference").asDouble())
                .isEqualTo(runs.get(1).get("val_loss").asDouble()
                        - runs.get(0).get("val_loss").asDouble());
        assertThat(runs.get(1).get("weight_bytes").asLong())
                .isLessThan(runs.get(0).get("weight_bytes").asLong());
        assertThat(runs.get(0).get("decode_us").fieldNames())
                .toIterable()
                .contains("norms", "matrix products", "attention");
        assertThat(runs.get(1).get("decode_us").fieldNames()).toIterable().contains("norms with rounding");
        assertThat(runs.get(0).get("decode_us").has("norms with rounding")).isFalse();
        assertTrace(JSON.readTree(trace.toFile()));
    }

    /** Each operation begins when the one before it has ended, and all of a layer are there. */
    private static void assertTrace(JsonNode trace) {
        for (int run = 0; run < 3; run++) {
            for (int phase = 0; phase < 2; phase++) {
                double end = 0;
                int products = 0;
                for (JsonNode event : trace.get("traceEvents")) {
                    if (event.get("ph").asText().equals("X")
                            && event.get("pid").asInt() == run
                            && event.get("tid").asInt() == phase) {
                        assertThat(event.get("ts").asDouble()).isCloseTo(end, within(0.01));
                        end = event.get("ts").asDouble() + event.get("dur").asDouble();
                        products += event.get("name").asText().matches("linear|packedLinear") ? 1 : 0;
                    }
                }
                assertThat(products).isEqualTo(3 * 4 + 1);
            }
        }
    }

    @Test
    void printsTables() {
        Cli.Result result = profile("--run", plain.toString(), "--run", ternary.toString());
        assertThat(result.code()).as(result.err()).isZero();
        assertThat(result.out()).contains("1.58 bits", "agreement", "prefill", "decode", "norms with rounding");
        assertThat(profile("--run", plain.toString(), "--run", plain.toString())
                        .out()
                        .lines()
                        .filter(line -> line.startsWith(plain.toString())))
                .hasSize(1);
    }

    @Test
    void countsTheCharactersThatArePredicted() throws IOException {
        JsonNode score = JSON.readTree(Cli.run("score", "--run", plain.toString(), "--text", val().toString(), "--json")
                .out());
        assertThat(profile("--run", plain.toString()).out())
                .contains(String.format(
                        Locale.ROOT, "over %,d characters", score.get("chars").asInt()));
    }

    /** With a heap too small for any of the weights: each product is a line that says so. */
    @Test
    void productsThatFailAreLinesToo() throws Exception {
        Cli.Result result = Cli.runIn(
                temp,
                List.of("-Xmx64m"),
                "profile",
                "--shapes",
                "bitnet-2b",
                "--seconds",
                "0.001",
                "--device",
                "cpu",
                "--json");

        assertThat(result.code()).isEqualTo(1);
        JsonNode header = result.json().get(0);
        assertThat(header.get("shapes").asText()).isEqualTo("bitnet-2b");
        assertThat(header.get("device").asText()).startsWith("cpu, ");
        assertThat(header.fieldNames()).toIterable().contains("drakegpt", "date", "machine", "precision", "libraries");
        List<JsonNode> rows = result.json().subList(1, result.json().size());
        assertThat(rows).hasSizeGreaterThanOrEqualTo(4 * 13 * 3);
        for (JsonNode row : rows) {
            assertThat(row.fieldNames())
                    .toIterable()
                    .containsExactly("out", "in", "rows", "weights", "weight_bytes", "error");
        }
        assertThat(result.err()).contains("3840 2560 1 fp32 39321600 was not measured: ");
    }

    @Test
    void badInputIsRefused() throws IOException {
        assertFails(Cli.run("profile"), 2, "either --run DIR, or --shapes bitnet-2b");
        assertFails(Cli.run("profile", "--run", plain.toString(), "--shapes", "bitnet-2b"), 2, "either --run DIR");
        assertFails(Cli.run("profile", "--shapes", "gpt-2"), 2, "no shapes 'gpt-2'; choose bitnet-2b");
        assertFails(Cli.run("profile", "--shapes", "bitnet-2b", "--trace", "x"), 2, "give it with --run");
        assertFails(Cli.run("profile", "--run", plain.toString(), "--seconds", "0"), 2, "--seconds is 0.0");
        assertFails(Cli.run("profile", "--run", temp.toString()), 1, "is not the folder of a run");
        Path other = TinyRuns.corpus(temp.resolve("corpus"), "another text of other letters: xyz".repeat(30));
        Path run = TinyRuns.bigram(other, temp.resolve("other"));
        assertFails(
                profile("--run", plain.toString(), "--run", run.toString()), 2, "was trained with another vocabulary");
        assertFails(
                Cli.run("profile", "--run", plain.toString(), "--data", other.toString()),
                2,
                "has another vocabulary than " + plain);
    }

    @Test
    void eachRunKeepsItsFigures() throws IOException {
        JsonNode printed = new ObjectMapper()
                .readTree(profile("--run", plain.toString(), "--run", ternary.toString(), "--json")
                        .out());

        for (int i = 0; i < 2; i++) {
            JsonNode kept = new ObjectMapper()
                    .readTree(List.of(plain, ternary)
                            .get(i)
                            .resolve(RunFolder.PROFILE)
                            .toFile());
            assertThat(kept.get("device")).isEqualTo(printed.get("device"));
            assertThat(kept.get("precision").asText()).isEqualTo("fp32");
            printed.get("runs")
                    .get(i)
                    .properties()
                    .forEach(field -> assertThat(kept.get(field.getKey())).isEqualTo(field.getValue()));
        }
    }

    @Test
    void whatComesWithTheProjectStaysAsItIs() {
        assertThat(profile("--run", "data/pretrained/TransformerLM").code()).isZero();

        assertThat(Path.of("data/pretrained/TransformerLM", RunFolder.PROFILE)).doesNotExist();
    }

    private Cli.Result profile(String... more) {
        String[] args = new String[3 + more.length];
        System.arraycopy(new String[] {"profile", "--seconds", "0.002"}, 0, args, 0, 3);
        System.arraycopy(more, 0, args, 3, more.length);
        return Cli.run(args);
    }

    /** The validation split as a text. */
    private Path val() throws IOException {
        String text = Files.readString(corpus.resolve("input.txt"));
        int train = JSON.readTree(plain.resolve(RunFolder.CONFIG).toFile())
                .at("/data/train_tokens")
                .asInt();
        return Files.writeString(temp.resolve("val.txt"), text.substring(train));
    }
}
