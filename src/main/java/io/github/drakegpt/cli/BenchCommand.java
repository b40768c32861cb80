package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import io.github.drakegpt.backend.Arena;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.profile.Benchmark;
import io.github.drakegpt.train.TrainConfig;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code bench}: how fast this machine trains and generates. */
@Command(
        name = "bench",
        mixinStandardHelpOptions = true,
        description = "Times training steps and generated characters on random text: median, 10th and 90th percentile.")
final class BenchCommand implements Callable<Integer> {
    private static final int VOCAB_SIZE = 65;

    private enum Suite {
        TRAIN,
        GENERATE,
        ALL
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
            description = "train, generate or all (default: ${DEFAULT-VALUE}).")
    private Suite suite;

    @Option(
            names = "--seconds",
            paramLabel = "X",
            defaultValue = "4",
            description = "How long to measure each, after half as long to warm up (default: ${DEFAULT-VALUE}).")
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
                if (suite != Suite.GENERATE) {
                    results.add(train(backend, name, model, settings.train()));
                }
                if (suite != Suite.TRAIN) {
                    results.add(generate(backend, name, model));
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

    private ObjectNode train(Backend backend, String name, ModelConfig model, TrainConfig config) {
        Benchmark.Timing timing = Benchmark.train(backend, model, config, seconds);
        return row("train", name, timing, config.sequencesPerStep() * model.contextLength());
    }

    private ObjectNode generate(Backend backend, String name, ModelConfig model) {
        float[] weights;
        try (Arena arena = backend.newArena()) {
            weights = LanguageModel.forEvaluation(model, backend, arena, 1, null)
                    .parameters()
                    .initialValues(0);
        }
        return row("generate", name, Benchmark.generate(backend, model, weights, seconds), 1);
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
        Table table = new Table("what", "runs", "median ms", "p10", "p90", "tokens/s");
        results.forEach(row -> table.add(
                row.get("suite").asText() + " " + row.get("config").asText(),
                row.get("runs").asText(),
                String.format(Locale.ROOT, "%.4f", row.get("ms_median").asDouble()),
                String.format(Locale.ROOT, "%.4f", row.get("ms_p10").asDouble()),
                String.format(Locale.ROOT, "%.4f", row.get("ms_p90").asDouble()),
                String.format(Locale.ROOT, "%,d", row.get("tokens_per_s").asLong())));
        System.out.print(table);
    }
}
