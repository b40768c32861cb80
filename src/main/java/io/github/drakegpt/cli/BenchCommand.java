package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
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
import io.github.drakegpt.train.TrainConfig;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code bench}: how fast this machine trains and generates. */
@Command(
        name = "bench",
        mixinStandardHelpOptions = true,
        description = {
            "Times training steps, generated characters and single operations on random text: median, 10th and 90th"
                    + " percentile.",
            "The operations are those of training and generating, at the sizes they have there. The GB/s count each"
                    + " tensor that an operation reads or writes once, and are told in percent of those of a copy from"
                    + " memory to memory; small operands stay in a cache, and may exceed that."
        })
final class BenchCommand implements Callable<Integer> {
    private static final int VOCAB_SIZE = 65;

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
                            + " (default: the six models and laptop).")
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

    @Option(names = "--json", description = "Print one JSON array.")
    private boolean json;

    @Mixin
    private DeviceOptions device;

    @Override
    public Integer call() throws IOException {
        if (!(seconds > 0)) {
            throw new IllegalArgumentException(seconds + " seconds are too short; give --seconds a number above 0.");
        }
        if (names.isEmpty()) {
            names.addAll(Models.NAMES);
            names.add("laptop");
        }
        ArrayNode results = JsonNodeFactory.instance.arrayNode();
        try (Backend backend = device.open()) {
            for (String name : names) {
                Settings settings = settings(name);
                ModelConfig model = settings.model(VOCAB_SIZE);
                if (suite.includes(Suite.TRAIN)) {
                    results.add(train(backend, name, model, settings.train()));
                }
                if (suite.includes(Suite.GENERATE)) {
                    results.add(generate(backend, name, model));
                }
            }
            if (suite.includes(Suite.KERNELS)) {
                for (String name : sizes(names)) {
                    results.addAll(kernels(backend, name));
                }
            }
        }
        if (json) {
            System.out.println(
                    new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(results));
        } else {
            print(results);
        }
        return 0;
    }

    private static Settings settings(String name) throws IOException {
        if (Settings.BUILT_IN.contains(name)) {
            return new Settings().overlay(name);
        }
        Models.requireKnown(name);
        return new Settings().set("model.name", TextNode.valueOf(name));
    }

    /** The configurations whose sizes these have: the models in the default configuration share its. */
    private static Set<String> sizes(List<String> names) {
        return names.stream()
                .map(name -> Settings.BUILT_IN.contains(name) ? name : "default")
                .collect(Collectors.toCollection(LinkedHashSet::new));
    }

    private ArrayNode kernels(Backend backend, String name) throws IOException {
        Settings settings = settings(name);
        List<KernelBenchmark.Result> results = KernelBenchmark.run(
                backend, settings.model(VOCAB_SIZE), settings.train().batchSize(), seconds / 10);
        double copy = results.get(0).gigabytesPerSecond();
        ArrayNode rows = JsonNodeFactory.instance.arrayNode();
        for (KernelBenchmark.Result result : results) {
            ObjectNode row = rows.addObject()
                    .put("suite", "kernels")
                    .put("config", name)
                    .put("operation", result.operation())
                    .put("shape", result.shape().toString())
                    .put("bytes", result.bytes())
                    .put("runs", result.timing().runs())
                    .put("us_median", result.timing().median() * 1e3)
                    .put("us_p10", result.timing().p10() * 1e3)
                    .put("us_p90", result.timing().p90() * 1e3)
                    .put("gb_per_s", result.gigabytesPerSecond())
                    .put("percent_of_copy", 100 * (result.gigabytesPerSecond() / copy));
            if (result.flops() > 0) {
                row.put("gflop_per_s", result.gigaflopsPerSecond());
            }
        }
        return rows;
    }

    private ObjectNode train(Backend backend, String name, ModelConfig model, TrainConfig config) {
        Benchmark.Timing timing = Benchmark.train(backend, model, config, seconds);
        return row("train", name, timing, config.sequencesPerStep() * model.contextLength());
    }

    private ObjectNode generate(Backend backend, String name, ModelConfig model) {
        Weights weights = Weights.of(model, LanguageModel.parametersOf(model).initialValues(0));
        return row("generate", name, Benchmark.generate(backend, weights, seconds), 1);
    }

    private static ObjectNode row(String suite, String name, Benchmark.Timing timing, int tokens) {
        return JsonNodeFactory.instance
                .objectNode()
                .put("suite", suite)
                .put("config", name)
                .put("runs", timing.runs())
                .put("ms_median", timing.median())
                .put("ms_p10", timing.p10())
                .put("ms_p90", timing.p90())
                .put("tokens_per_s", Math.round(tokens * 1000 / timing.median()));
    }

    private static void print(ArrayNode results) {
        Table runs = new Table("what", "runs", "median ms", "p10", "p90", "tokens/s");
        Table kernels = new Table("operation", "shape", "median us", "p10", "p90", "GB/s", "% of copy", "GFLOP/s");
        results.forEach(row -> {
            if (row.get("suite").asText().equals("kernels")) {
                kernels.add(
                        row.get("config").asText() + " " + row.get("operation").asText(),
                        row.get("shape").asText(),
                        number("%.2f", row, "us_median"),
                        number("%.2f", row, "us_p10"),
                        number("%.2f", row, "us_p90"),
                        number("%.1f", row, "gb_per_s"),
                        number("%.1f", row, "percent_of_copy"),
                        row.has("gflop_per_s") ? number("%,.1f", row, "gflop_per_s") : "");
            } else {
                runs.add(
                        row.get("suite").asText() + " " + row.get("config").asText(),
                        row.get("runs").asText(),
                        number("%.4f", row, "ms_median"),
                        number("%.4f", row, "ms_p10"),
                        number("%.4f", row, "ms_p90"),
                        String.format(
                                Locale.ROOT, "%,d", row.get("tokens_per_s").asLong()));
            }
        });
        System.out.print(Stream.of(runs, kernels)
                .filter(table -> !table.isEmpty())
                .map(Table::toString)
                .collect(Collectors.joining(System.lineSeparator())));
    }

    private static String number(String format, JsonNode row, String field) {
        return String.format(Locale.ROOT, format, row.get(field).asDouble());
    }
}
