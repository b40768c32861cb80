package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.node.IntNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.profile.Benchmark;
import io.github.drakegpt.profile.GpuPeaks;
import io.github.drakegpt.profile.TrainingCost;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.train.Settings;
import io.github.drakegpt.train.TrainConfig;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;

/** How long training takes on a device, from a second of steps of each configuration. */
final class TrainingTimes {
    private static final double SECONDS = 1;
    private static final int VOCAB_SIZE = 65; // of tiny Shakespeare
    private static final int PARTS = 64; // of scaled's batch, of which one is measured: a step of all takes seconds
    private static final String GPU = "NVIDIA H100 80GB HBM3";

    private TrainingTimes() {}

    /** Names and values to show. */
    static Map<String, String> facts(Backend backend) {
        Map<String, String> facts = new LinkedHashMap<>();
        facts.put("laptop", timeOrReason(backend, "laptop", 1));
        facts.put("scaled", timeOrReason(backend, "scaled", PARTS));
        if (backend.name().equals("cpu")) {
            facts.put("with a GPU", gpu(backend));
        }
        return facts;
    }

    /** Other facts are shown in any case. */
    private static String timeOrReason(Backend backend, String configuration, int parts) {
        try {
            return time(backend, configuration, parts);
        } catch (RuntimeException | OutOfMemoryError e) {
            return "not measured: " + Main.sentence(e);
        }
    }

    private static String time(Backend backend, String configuration, int parts) {
        Settings settings = settings(configuration);
        TrainConfig whole = settings.train();
        settings.set("train.batch_size", IntNode.valueOf(whole.batchSize() / parts), "doctor");
        double milliseconds = parts
                * Benchmark.train(backend, settings.model(VOCAB_SIZE), settings.train(), SECONDS)
                        .median();
        return String.format(
                Locale.ROOT,
                "%,d steps of %s, %s in all",
                whole.iters(),
                milliseconds < 1000
                        ? String.format(Locale.ROOT, "%.3g ms", milliseconds)
                        : String.format(Locale.ROOT, "%.3g s", milliseconds / 1000),
                Progress.duration(1e-3 * milliseconds * whole.iters()));
    }

    /** Peaks are compared, since no time can be measured on a GPU that is not there. */
    private static String gpu(Backend backend) {
        Settings settings = settings("scaled");
        ModelConfig model = settings.model(VOCAB_SIZE);
        double flops = TrainingCost.flops(model, settings.train().sequencesPerStep());
        double peak = 1e12 * GpuPeaks.of(GPU).orElseThrow().teraflops(Precision.BF16);
        OptionalDouble here = Benchmark.peakFlops(backend);
        return String.format(
                Locale.ROOT,
                "a step of scaled is %.2g TFLOP, for which an H100 at its peak in bf16 takes %.2g ms%s",
                1e-12 * flops,
                1e3 * flops / peak,
                here.isPresent()
                        ? String.format(Locale.ROOT, ", this processor at its own %.2g s", flops / here.getAsDouble())
                        : "");
    }

    private static Settings settings(String configuration) {
        return new Settings().overlayBuiltIn(configuration);
    }
}
