package io.github.drakegpt.cli;

import io.github.drakegpt.checkpoint.RunFolder;
import java.io.IOException;
import java.nio.file.Path;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The options that select a run. */
final class RunOptions {
    @Option(names = "--run", paramLabel = "DIR", description = "Folder of the run to use.")
    private Path run;

    @Option(
            names = "--model",
            paramLabel = "NAME",
            description = "Use the newest run of this model under runs/, else the pretrained one.")
    private String model;

    @Mixin
    private CheckpointOption checkpoint;

    /** The selected run with the selected weights. */
    RunFolder find() throws IOException {
        return checkpoint.of(Runs.find(run, model));
    }
}
