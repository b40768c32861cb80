package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.node.IntNode;
import com.fasterxml.jackson.databind.node.LongNode;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.train.Settings;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Option;

/** The options that change settings. */
final class SettingsOptions {
    @Option(
            names = "--config",
            paramLabel = "NAME|FILE",
            completionCandidates = Candidates.OfConfigurations.class,
            description = "Settings to lay over the default ones: default, laptop, scaled or a YAML file.")
    private String config;

    @Option(
            names = "--set",
            paramLabel = "KEY=VALUE",
            description = "Change one setting, such as train.patience=3; may be given several times.")
    private List<String> assignments = new ArrayList<>();

    @Option(names = "--iters", paramLabel = "N", description = "Training steps (train.iters).")
    private Integer iters;

    @Option(names = "--seed", paramLabel = "N", description = "Seed of everything random (train.seed).")
    private Long seed;

    Integer iters() {
        return iters;
    }

    /** Whether anything but the number of steps was given. */
    boolean changeMoreThanIters() {
        return config != null || !assignments.isEmpty() || seed != null;
    }

    /** The default settings, overridden by the given ones, {@code --set} last. */
    Settings resolve(boolean scaled) throws IOException {
        return resolve(scaled, null, null);
    }

    /**
     * The same, with the settings that suit quantized models laid over the built-in configuration, and over those the sizes
     * of the run whose weights it begins with.
     *
     * @param quantization may be none, for a model to compare quantized ones with; null to leave those settings out
     * @param initFrom that run's model, or null
     */
    Settings resolve(boolean scaled, Quantization quantization, ModelConfig initFrom) throws IOException {
        Settings settings = new Settings();
        String builtIn = scaled ? "scaled" : "default";
        if (scaled) {
            settings.overlay(builtIn);
        }
        if (config != null && Settings.BUILT_IN.contains(config)) {
            builtIn = config;
            settings.overlay(config);
        }
        if (quantization != null) {
            settings.quantize(quantization, builtIn, "--quant");
        }
        if (initFrom != null) {
            settings.resize(initFrom, "--init-from");
        }
        layGiven(settings);
        boolean rounds = quantization != null && quantization != Quantization.NONE;
        if (rounds && initFrom != null && initFrom.quant() == Quantization.NONE) {
            settings.warmUpQuantization(
                    "--init-from"); // depends on the number of steps, which may be among the given settings
            layGiven(settings);
        }
        return settings;
    }

    /** Applies a YAML file and the single settings. */
    private void layGiven(Settings settings) throws IOException {
        if (config != null && !Settings.BUILT_IN.contains(config)) {
            settings.overlay(config);
        }
        if (iters != null) {
            settings.set("train.iters", IntNode.valueOf(iters), "--iters");
        }
        if (seed != null) {
            settings.set("train.seed", LongNode.valueOf(seed), "--seed");
        }
        assignments.forEach(assignment -> settings.assign(assignment, "--set"));
    }
}
