package io.github.drakegpt.quant;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;
import java.util.Arrays;
import java.util.stream.Collectors;

/**
 * Rounding of the weights of attention and feed-forward layers. The gradient ignores it (the straight-through estimator
 * of Bengio, Leonard and Courville, 2013): training updates full-precision weights, and the model computes with their
 * rounded values.
 */
public enum Quantization {
    /** Full precision. */
    NONE("none"),
    /**
     * One bit: the sign of w - mean(w), times mean(|w|), for each matrix. A weight that equals the mean counts as positive,
     * so that a bit is enough. Wang et al., "BitNet: Scaling 1-bit Transformers for Large Language Models", 2023.
     */
    BITNET("bitnet"),
    /**
     * Three values: w / mean(|w|) rounded to -1, 0 or 1 (ties to even), times mean(|w|), for each matrix. Ma et al., "The
     * Era of 1-bit LLMs: All Large Language Models are in 1.58 Bits", 2024.
     */
    B158("b1.58");

    private final String label;

    Quantization(String label) {
        this.label = label;
    }

    /** The name in settings and on the command line. */
    @JsonValue
    public String label() {
        return label;
    }

    /** @throws IllegalArgumentException that lists the names, if this is none of them */
    @JsonCreator
    public static Quantization of(String label) {
        for (Quantization quantization : values()) {
            if (quantization.label.equals(label)) {
                return quantization;
            }
        }
        throw new IllegalArgumentException("There is no quantization '" + label + "'; choose one of "
                + Arrays.stream(values()).map(Quantization::label).collect(Collectors.joining(", ")) + ".");
    }
}
