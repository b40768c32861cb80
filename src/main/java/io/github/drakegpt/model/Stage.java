package io.github.drakegpt.model;

import io.github.drakegpt.quant.Quantization;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** A stage of the journey: one of the six models, or the last of them with weights of 1.58 bits or of one. */
public record Stage(String model, Quantization quantization) {
    /** All stages in their order. */
    public static final List<Stage> ALL = Stream.concat(
                    Models.NAMES.stream().map(model -> new Stage(model, Quantization.NONE)),
                    Stream.of(Quantization.B158, Quantization.BITNET)
                            .map(quantization -> new Stage(Models.TRANSFORMER, quantization)))
            .toList();

    /** @throws IllegalArgumentException that lists the names, if this is none of them */
    public static Stage of(String name) {
        return ALL.stream()
                .filter(stage -> stage.name().equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("There is no model '" + name + "'; choose one of "
                        + ALL.stream().map(Stage::name).collect(Collectors.joining(", ")) + "."));
    }

    public static Stage of(ModelConfig config) {
        return new Stage(config.name(), config.quant());
    }

    /** The model's name, with the quantization if there is one: {@code TransformerLM-b1.58}. */
    public String name() {
        return quantization == Quantization.NONE ? model : model + "-" + quantization.label();
    }

    /** A few words on how it extends the stage before it. */
    public String adds() {
        return switch (quantization) {
            case NONE -> Models.adds(model);
            case B158 -> "weights of -1, 0 and 1";
            case BITNET -> "weights of one bit";
        };
    }
}
