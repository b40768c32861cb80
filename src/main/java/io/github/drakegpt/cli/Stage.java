package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.node.TextNode;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.quant.Quantization;
import java.io.IOException;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** A stage of the journey: one of the six models, or the last of them with weights of 1.58 bits or of one. */
record Stage(String model, Quantization quantization) {
    /** All stages in their order. */
    static final List<Stage> ALL = Stream.concat(
                    Models.NAMES.stream().map(model -> new Stage(model, Quantization.NONE)),
                    Stream.of(Quantization.B158, Quantization.BITNET)
                            .map(quantization -> new Stage(Models.TRANSFORMER, quantization)))
            .toList();

    /** @throws IllegalArgumentException that lists the names, if this is none of them */
    static Stage of(String name) {
        return ALL.stream()
                .filter(stage -> stage.name().equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("There is no model '" + name + "'; choose one of "
                        + ALL.stream().map(Stage::name).collect(Collectors.joining(", ")) + "."));
    }

    static Stage of(ModelConfig config) {
        return new Stage(config.name(), config.quant());
    }

    /** The model's name, in a quantized one with what it is rounded to: {@code TransformerLM-b1.58}. */
    String name() {
        return quantization == Quantization.NONE ? model : model + "-" + quantization.label();
    }

    /** What it adds to the stage before it, in a few words. */
    String adds() {
        return switch (quantization) {
            case NONE -> Models.adds(model);
            case B158 -> "weights of -1, 0 and 1";
            case BITNET -> "weights of one bit";
        };
    }

    /** @throws IllegalArgumentException if the options ask for other weights than this stage has */
    Settings settings(SettingsOptions options) throws IOException {
        Settings settings = options.resolve(false, quantization, false).set("model.name", TextNode.valueOf(model));
        Quantization asked = settings.model(1).quant(); // whatever the vocabulary
        if (asked != quantization) {
            throw new IllegalArgumentException("model.quant is " + asked.label() + ", where " + name() + " has "
                    + quantization.label() + "; leave it out, and choose stages with --models.");
        }
        return settings;
    }
}
