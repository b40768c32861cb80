package io.github.drakegpt.cli;

import io.github.drakegpt.checkpoint.RunFolder;
import java.io.IOException;
import java.nio.file.Path;
import picocli.CommandLine.Option;

/** The option that selects which of a run's weights to use. */
final class CheckpointOption {
    @Option(
            names = "--checkpoint",
            paramLabel = "last|best",
            defaultValue = "last",
            description = "Weights to use of a run: the last ones, or those with the lowest validation loss (default:"
                    + " ${DEFAULT-VALUE}).")
    private RunFolder.WeightsOf checkpoint;

    /** A run with these weights. */
    RunFolder open(Path folder) throws IOException {
        return RunFolder.open(folder).with(checkpoint);
    }

    RunFolder.WeightsOf weights() {
        return checkpoint;
    }

    boolean isBest() {
        return checkpoint == RunFolder.WeightsOf.BEST;
    }
}
