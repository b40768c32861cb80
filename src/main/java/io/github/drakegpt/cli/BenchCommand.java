package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.profile.Benchmark;
import io.github.drakegpt.profile.KernelBenchmark;
import io.github.drakegpt.profile.TrainingCost;
import io.github.drakegpt.train.Settings;
import io.github.drakegpt.train.TrainConfig;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code bench}: times training and generating on this machine. */
@Command(
        name = "bench",
        mixinStandardHelpOptions = true,
        description = {
            "Times training steps, generated characters and single operations on random text: median, 10th and 90th"
                    + " percentile.",
            "Of a training step it also shows the peak memory, beside the size of parameters, gradients, AdamW's moments and"
                    + " the activations that the backward pass needs; and the share of the device's peak rate that is used"
                    + " (MFU), counted as in PaLM: 6 operations for each parameter that is no embedding and each"
                    + " character, and all of the attention. The peak of a GPU is that of its data sheet, where it is known;"
                    + " that of a CPU is measured first: fused multiply-adds on all threads, for a second.",
            "Characters are generated for one text (as generate does it) and for 64 at once.",
            "The operations are those of training and generating, at the sizes they have there; some are followed by the same"
                    + " operation of a library. The GB/s count each tensor that an operation reads or writes once, also in"
                    + " percent of a copy from memory to memory; small operands stay in a cache, and may exceed that."
        })
final class BenchCommand implements Callable<Integer> {
    private static final int VOCAB_SIZE = 65;
    private static final int BATCH = 64;
    private static final double MEGABYTE = 1e6;

    private enum Suite {
        TRAIN,
        GENERATE,
        KERNELS,
        ALL;

        boolean includes(Suite other) {
            return this == ALL || this == other;
        }
    }

    @Parameters(
            paramLabel = "CONFIG",
            arity = "0..*",
            description =
                    "Models in the default configuration, or default, laptop, scaled, which mean their TransformerLM"
                            + " (default: the six models and laptop, on a GPU scaled too).")
    private List<String> names = new ArrayList<>();

    @Option(
            names = "--suite",
            defaultValue = "all",
            description = "train, generate, kernels or all (default: ${DEFAULT-VALUE}).")
    private Suite suite;

    @Option(
            names = "--seconds",
            paramLabel = "X",
            defaultValue = "4",
            description =
                    "How long to measure each, after half as long to warm up; a single operation a tenth of that (default:"
                            + " ${DEFAULT-VALUE}).")
    private double seconds;

    @Option(
            names = "--json",
            description = "Print JSON lines: the machine, then each result as it comes; with `error` if it failed.")
    private boolean json;

    @Mixin
    private DeviceOptions device;

    @Override
    public Integer call() throws IOException {
        if (!(seconds > 0)) {
            throw new IllegalArgumentException(seconds + " seconds are too short; give --seconds a number above 0.");
        }
        for (String name : names) {
            settings(name); // throws if there is no such configuration
        }
        try (Backend backend = device.open()) {
            if (names.isEmpty()) {
                names.addAll(Models.NAMES);
                names.add("laptop");
                if (!backend.name().equals("cpu")) {
                    names.add("scaled"); // too slow on a CPU: seconds for a step
                }
            }
            ObjectNode header = MeasuredRows.header(backend, device);
            OptionalDouble peak = suite == Suite.GENERATE ? OptionalDouble.empty() : Benchmark.peakFlops(backend);
            peak.ifPresent(flops -> header.put("peak_gflop_per_s", 1e-9 * flops));
            MeasuredRows rows = new MeasuredRows(json, header);
            try {
                run(backend, peak, rows);
            } finally {
                if (!json) {
                    print(header, rows.rows());
                }
            }
            return rows.exitCode();
        }
    }

    private void run(Backend backend, OptionalDouble peak, MeasuredRows rows) throws IOException {
        for (String name : names) {
            Settings settings = settings(name);
            ModelConfig model = settings.model(VOCAB_SIZE);
            if (suite.includes(Suite.TRAIN)) {
                TrainConfig config = settings.train();
                measure(
                        rows,
                        row("train", name, config.sequencesPerStep()),
                        row -> train(backend, model, config, peak, row));
            }
            if (suite.includes(Suite.GENERATE)) {
                measure(rows, row("generate", name, 1), row -> generate(backend, model, 1, row));
                measure(rows, row("generate", name, BATCH), row -> generate(backend, model, BATCH, row));
            }
        }
        if (suite.includes(Suite.KERNELS)) {
            for (String name : sizes(names)) {
                kernels(backend, name, rows);
            }
        }
    }

    /** Fills and adds a row, or one with the error if it fails. */
    private static void measure(MeasuredRows rows, ObjectNode row, Consumer<ObjectNode> measurement) {
        try {
            measurement.accept(row);
        } catch (RuntimeException | OutOfMemoryError e) {
            rows.addFailed(row, e);
            return;
        }
        rows.add(row);
    }

    private static Settings settings(String name) throws IOException {
        if (Settings.BUILT_IN.contains(name)) {
            return new Settings().overlay(name);
        }
        Models.requireKnown(name);
        return new Settings().set("model.name", TextNode.valueOf(name), "bench");
    }

    /** The configurations whose sizes these have; all models in the default configuration share its sizes. */
    private static Set<String> sizes(List<String> names) {
        return names.stream()
                .map(name -> Settings.BUILT_IN.contains(name) ? name : "default")
                .collect(Collectors.toCollection(LinkedHashSet::new));
    }

    private void kernels(Backend backend, String name, MeasuredRows rows) throws IOException {
        Settings settings = settings(name);
        double[] copy = {0}; // its GB/s; measured first
        KernelBenchmark.run(
                backend, settings.model(VOCAB_SIZE), settings.train().batchSize(), seconds / 10, result -> {
                    KernelBenchmark.Subject subject = result.subject();
                    ObjectNode row = JsonNodeFactory.instance
                            .objectNode()
                            .put("suite", "kernels")
                            .put("config", name)
                            .put("operation", subject.operation())
                            .put("by", subject.by() == null ? "drakegpt" : subject.by())
                            .put("shape", subject.shape().toString())
                            .put("dtype", subject.dtype().name().toLowerCase(Locale.ROOT));
                    if (result.failure() != null) {
                        rows.addFailed(row, result.failure());
                        return;
                    }
                    double speed = result.gigabytesPerSecond();
                    row.put("bytes", subject.bytes())
                            .put("runs", result.timing().runs())
                            .put("us_median", result.timing().median() * 1e3)
                            .put("us_p10", result.timing().p10() * 1e3)
                            .put("us_p90", result.timing().p90() * 1e3)
                            .put("gb_per_s", speed);
                    if (subject.operation().equals("copy")) {
                        copy[0] = speed;
                    }
                    if (copy[0] > 0) {
                        row.put("percent_of_copy", 100 * (speed / copy[0]));
                    }
                    if (subject.flops() > 0) {
                        row.put("gflop_per_s", result.gigaflopsPerSecond());
                    }
                    rows.add(row);
                });
    }

    private void train(Backend backend, ModelConfig model, TrainConfig config, OptionalDouble peak, ObjectNode row) {
        backend.resetPeakBytes();
        Benchmark.Timing timing = Benchmark.train(backend, model, config, seconds);
        int sequences = config.sequencesPerStep();
        double flops = TrainingCost.flops(model, sequences);
        put(row, timing)
                .put("steps_per_s", 1e3 / timing.median())
                .put("tokens_per_s", Math.round(1e3 * sequences * model.contextLength() / timing.median()))
                .put("parameters", LanguageModel.parametersOf(model).count())
                .put("flops_per_step", flops)
                .put("memory_bytes", backend.resetPeakBytes())
                .put("needed_bytes", TrainingCost.bytes(model, config.batchSize(), backend.activations()));
        peak.ifPresent(most -> row.put("mfu_percent", 1e2 * flops / (1e-3 * timing.median()) / most));
    }

    private void generate(Backend backend, ModelConfig model, int batch, ObjectNode row) {
        Weights weights = Weights.of(model, LanguageModel.parametersOf(model).initialValues(0));
        Benchmark.Timing timing = batch == 1
                ? Benchmark.generate(backend, weights, seconds)
                : Benchmark.generate(backend, weights, batch, seconds);
        put(row, timing).put("tokens_per_s", Math.round(1e3 * batch / timing.median()));
    }

    private static ObjectNode row(String suite, String name, int batch) {
        return JsonNodeFactory.instance
                .objectNode()
                .put("suite", suite)
                .put("config", name)
                .put("batch", batch);
    }

    private static ObjectNode put(ObjectNode row, Benchmark.Timing timing) {
        return row.put("runs", timing.runs())
                .put("ms_median", timing.median())
                .put("ms_p10", timing.p10())
                .put("ms_p90", timing.p90());
    }

    private static void print(ObjectNode header, List<ObjectNode> rows) {
        System.out.printf(
                "drakegpt %s, %s%n",
                header.get("drakegpt").asText(), header.get("date").asText());
        header.get("machine").properties().forEach(BenchCommand::printFact);
        System.out.printf(
                "device %s, %s%n",
                header.get("device").asText(), header.get("precision").asText());
        if (header.has("peak_gflop_per_s")) {
            printFact(Map.entry("peak", TextNode.valueOf(number("%,.1f GFLOP/s", header, "peak_gflop_per_s"))));
        }
        header.get("libraries").properties().forEach(BenchCommand::printFact);
        System.out.println();

        Table training = new Table(
                "train",
                "batch",
                "runs",
                "median ms",
                "p10",
                "p90",
                "steps/s",
                "tokens/s",
                "MFU",
                "MB taken",
                "needed");
        Table generation = new Table("generate", "batch", "runs", "median ms", "p10", "p90", "tokens/s");
        Table kernels =
                new Table("operation", "type", "shape", "median us", "p10", "p90", "GB/s", "% of copy", "GFLOP/s");
        for (JsonNode row : rows) {
            String config = row.get("config").asText();
            switch (row.get("suite").asText()) {
                case "train" ->
                    training.add(
                            config,
                            row.get("batch").asText(),
                            row.get("runs").asText(),
                            number("%.4f", row, "ms_median"),
                            number("%.4f", row, "ms_p10"),
                            number("%.4f", row, "ms_p90"),
                            number("%,.1f", row, "steps_per_s"),
                            number("%,.0f", row, "tokens_per_s"),
                            row.has("mfu_percent") ? number("%.1f%%", row, "mfu_percent") : "",
                            megabytes(row, "memory_bytes"),
                            megabytes(row, "needed_bytes"));
                case "generate" ->
                    generation.add(
                            config,
                            row.get("batch").asText(),
                            row.get("runs").asText(),
                            number("%.4f", row, "ms_median"),
                            number("%.4f", row, "ms_p10"),
                            number("%.4f", row, "ms_p90"),
                            number("%,.0f", row, "tokens_per_s"));
                default ->
                    kernels.add(
                            config + " " + row.get("operation").asText() + by(row),
                            row.get("dtype").asText(),
                            row.get("shape").asText(),
                            number("%.2f", row, "us_median"),
                            number("%.2f", row, "us_p10"),
                            number("%.2f", row, "us_p90"),
                            number("%.1f", row, "gb_per_s"),
                            row.has("percent_of_copy") ? number("%.1f", row, "percent_of_copy") : "",
                            row.has("gflop_per_s") ? number("%,.1f", row, "gflop_per_s") : "");
            }
        }
        System.out.print(Stream.of(training, generation, kernels)
                .filter(table -> !table.isEmpty())
                .map(Table::toString)
                .collect(Collectors.joining(System.lineSeparator())));
    }

    private static void printFact(Map.Entry<String, JsonNode> fact) {
        System.out.printf("  %-16s %s%n", fact.getKey(), fact.getValue().asText());
    }

    /** The library that did it, if not this project. */
    private static String by(JsonNode row) {
        String by = row.get("by").asText();
        return by.equals("drakegpt") ? "" : " by " + by;
    }

    private static String megabytes(JsonNode row, String field) {
        return String.format(Locale.ROOT, "%,.1f", row.get(field).asLong() / MEGABYTE);
    }

    private static String number(String format, JsonNode row, String field) {
        return String.format(Locale.ROOT, format, row.get(field).asDouble());
    }
}
