package io.github.drakegpt.cli;

import io.github.drakegpt.checkpoint.RunFolder;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The options that select a run. */
final class RunOptions {
    @Option(
            names = "--run",
            paramLabel = "DIR",
            description = "Folder of the run to use (default: the best model that comes with the project).")
    private List<Path> run = List.of();

    @Option(
            names = "--model",
            paramLabel = "NAME",
            completionCandidates = Candidates.OfStages.class,
            description =
                    "Use the run of this model under runs/ that is finished, of the corpus in use and has the lowest"
                            + " validation loss; else the pretrained one.")
    private String model;

    @Option(names = "--pretrained", description = "Use the model that comes with the project, not one under runs/.")
    private boolean pretrained;

    @Mixin
    private CheckpointOption checkpoint;

    /** The selected run with the selected weights. */
    RunFolder find() throws IOException {
        if (run.size() > 1) {
            throw new IllegalArgumentException("One run is used at a time; give a single --run.");
        }
        return Runs.find(run.isEmpty() ? null : run.get(0), model, pretrained, checkpoint.weights());
    }

    /** All selected runs, for a command that takes several. */
    List<RunFolder> findAll() throws IOException {
        if (run.size() < 2) {
            return List.of(find());
        }
        List<RunFolder> found = new ArrayList<>();
        for (Path folder : run) {
            found.add(Runs.find(folder, model, pretrained, checkpoint.weights()));
        }
        return found;
    }
}
