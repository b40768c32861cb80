package io.github.drakegpt.report;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tracking.Metrics;
import io.github.drakegpt.tracking.MetricsFile;
import java.io.IOException;
import java.nio.file.Path;

/** Run folders as training leaves them, without the training. */
final class TestRuns {
    static final CharTokenizer TOKENIZER = CharTokenizer.of("abcde");

    private static final ObjectMapper JSON = new ObjectMapper();

    private TestRuns() {}

    static ModelConfig model(Quantization quantization) {
        return new ModelConfig(Models.TRANSFORMER, 5, 3, 4, 4, 2, 1, 0, false, Init.PYTORCH, quantization, false);
    }

    static ObjectNode config(Quantization quantization) {
        ObjectNode config = JSON.createObjectNode();
        config.set("model", JSON.valueToTree(model(quantization)));
        config.putObject("train")
                .put("iters", 1000)
                .put("eval_interval", 20)
                .put("batch_size", 4)
                .put("grad_accum", 2);
        return config;
    }

    /** A folder without a checkpoint, with these metrics. */
    static Path create(Path folder, Metrics... metrics) throws IOException {
        RunFolder.create(folder, config(Quantization.NONE), TOKENIZER);
        write(folder, metrics);
        return folder;
    }

    /** A run of any model in full precision, on a corpus with this sum, evaluated once. */
    static Path create(Path folder, String model, int seed, String sha256, double valLoss) throws IOException {
        ObjectNode config = config(Quantization.NONE);
        config.withObject("/model").put("name", model);
        config.withObject("/train").put("seed", seed);
        config.putObject("data").put("source", folder + ".csv").put("sha256", sha256);
        RunFolder.create(folder, config, TOKENIZER);
        write(folder, evaluation(1000, 2, valLoss, null));
        return folder;
    }

    static void write(Path folder, Metrics... metrics) throws IOException {
        try (MetricsFile file = new MetricsFile(RunFolder.open(folder))) {
            for (Metrics line : metrics) {
                file.add(line);
            }
        }
    }

    /** A step between evaluations. */
    static Metrics step(int step, double loss) {
        return new Metrics(step, loss, null, null, null, 0.001, 0.5, 1000, null, step / 10.0, null);
    }

    static Metrics evaluation(int step, double trainLoss, double valLoss, String sample) {
        return new Metrics(
                step, trainLoss, trainLoss, valLoss, null, 0.001, 0.5, 1000, 1_000_000L, step / 10.0, sample);
    }
}
