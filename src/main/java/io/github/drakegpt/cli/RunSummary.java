package io.github.drakegpt.cli;

import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.TrainingState;
import io.github.drakegpt.model.Stage;
import java.io.IOException;
import java.util.Locale;
import java.util.Optional;

/**
 * A run in a few words: what it is and how far its training came.
 *
 * @param state of the newest checkpoint; empty where nothing was trained, as in a folder of packed or imported weights
 */
record RunSummary(RunFolder folder, Optional<TrainingState> state) {
    static RunSummary of(RunFolder folder) throws IOException {
        Optional<TrainingState> state = folder.hasCheckpoint() ? Optional.of(folder.state()) : Optional.empty();
        return new RunSummary(folder, state.filter(saved -> saved.step() > 0));
    }

    Stage stage() {
        return Stage.of(folder.modelConfig());
    }

    boolean isFinished() {
        return state.isPresent() && state.get().isFinished();
    }

    /** The file or folder that the run was trained on; empty if it does not say. */
    String corpus() {
        return folder.config().path("data").path("source").asText();
    }

    /** The sum by which a corpus is known, wherever it lies. */
    String corpusSum() {
        return folder.config().path("data").path("sha256").asText();
    }

    int iters() {
        return folder.config().path("train").path("iters").asInt();
    }

    /** Val loss of the weights that the folder is opened for; NaN where nothing was trained. */
    double valLoss() {
        boolean best = folder.weightsOf() == RunFolder.WeightsOf.BEST;
        return state.map(saved -> best ? saved.shownBestValLoss() : saved.shownValLoss())
                .orElse(Double.NaN);
    }

    /** The val loss as text, an estimate marked so; empty where nothing was trained. */
    String valLossText() {
        boolean estimate = state.isPresent()
                && (!isFinished()
                        || folder.weightsOf() == RunFolder.WeightsOf.BEST
                                && state.get().bestStep() < state.get().step());
        return Double.isNaN(valLoss()) ? "" : String.format(Locale.ROOT, estimate ? "~%.4f" : "%.4f", valLoss());
    }

    /** The steps as text, with those that were planned if training has not come to its end. */
    String stepsText() {
        if (state.isEmpty()) {
            return "";
        }
        int step = state.get().step();
        return isFinished() || step >= iters()
                ? String.format(Locale.ROOT, "%,d", step)
                : String.format(Locale.ROOT, "%,d of %,d", step, iters());
    }

    @Override
    public String toString() {
        StringBuilder text =
                new StringBuilder().append(folder.path()).append(": ").append(stage().name());
        if (state.isPresent()) {
            text.append(", ").append(stepsText()).append(" steps, val loss ").append(valLossText());
        }
        return corpus().isEmpty()
                ? text.toString()
                : text.append(", corpus ").append(corpus()).toString();
    }
}
