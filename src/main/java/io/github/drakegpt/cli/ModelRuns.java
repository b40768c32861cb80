package io.github.drakegpt.cli;

import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.Corpora;
import io.github.drakegpt.model.Stage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The run that a model's name stands for: of its finished runs under {@code runs} that were trained on the corpus in use,
 * the one with the lowest val loss; else the pretrained one. A run that was interrupted is not finished.
 */
final class ModelRuns {
    private static final Logger log = LoggerFactory.getLogger(ModelRuns.class);

    private final List<RunSummary> finished;
    private Optional<Corpora.Found> corpus; // in use; null until it is asked for, since reading it takes time
    private String sum; // of the corpus, if there is one

    /** @param runs those under {@code runs} */
    ModelRuns(List<RunSummary> runs) {
        this.finished = runs.stream().filter(RunSummary::isFinished).toList();
    }

    /**
     * The run of a model; empty if there is none.
     *
     * @param weights whose val loss is meant
     */
    Optional<RunFolder> of(Stage stage, RunFolder.WeightsOf weights) throws IOException {
        List<RunSummary> runs = new ArrayList<>();
        for (RunSummary run : finished) {
            if (run.stage().equals(stage)) {
                runs.add(new RunSummary(run.folder().with(weights), run.state()));
            }
        }
        if (!runs.isEmpty()) {
            readCorpus();
            Optional<RunSummary> lowest = runs.stream()
                    .filter(run -> corpus.isEmpty() || run.corpusSum().equals(sum))
                    .min(Comparator.comparingDouble(RunSummary::valLoss));
            if (lowest.isPresent()) {
                return lowest.map(RunSummary::folder);
            }
        }
        Optional<Path> pretrained = Runs.pretrained(stage.name());
        return pretrained.isEmpty() ? Optional.empty() : Optional.of(RunFolder.open(pretrained.get()));
    }

    /** Says that a model has finished runs, if none of them is of the corpus in use. */
    void warnOfOtherCorpora(Stage stage) throws IOException {
        List<RunSummary> runs =
                finished.stream().filter(run -> run.stage().equals(stage)).toList();
        if (!runs.isEmpty()) {
            readCorpus();
            if (corpus.isPresent()
                    && runs.stream().noneMatch(run -> run.corpusSum().equals(sum))) {
                log.warn(
                        "No run of {} under {} is of the corpus in use, {}; `{} list` shows them, --run takes one.",
                        stage.name(),
                        Runs.FOLDER,
                        corpus.get().description(),
                        Main.program());
            }
        }
    }

    private void readCorpus() throws IOException {
        if (corpus == null) {
            corpus = Corpora.inUse();
            sum = corpus.isEmpty() ? null : corpus.get().corpus().sha256();
        }
    }
}
