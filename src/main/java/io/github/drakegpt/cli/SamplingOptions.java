package io.github.drakegpt.cli;

import io.github.drakegpt.ops.Sampling;
import picocli.CommandLine.Option;

/** The options that say how characters are drawn. */
final class SamplingOptions {
    @Option(
            names = "--temperature",
            paramLabel = "X",
            defaultValue = "0.8",
            description = "Divides the logits; 0 always takes the most likely character (default: ${DEFAULT-VALUE}).")
    private float temperature;

    @Option(
            names = "--top-k",
            paramLabel = "N",
            defaultValue = "40",
            description = "Draw only from the N most likely characters; 0 for all (default: ${DEFAULT-VALUE}).")
    private int topK;

    @Option(
            names = "--top-p",
            paramLabel = "X",
            defaultValue = "1.0",
            description = "Draw only from the most likely characters that together have this probability (default:"
                    + " ${DEFAULT-VALUE}).")
    private float topP;

    /** @throws IllegalArgumentException if one is not possible */
    Sampling get() {
        return new Sampling(temperature, topK, topP);
    }
}
