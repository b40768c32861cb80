package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.Corpora;
import io.github.drakegpt.data.Folder;
import io.github.drakegpt.report.LiveServer;
import io.github.drakegpt.train.Settings;
import io.github.drakegpt.train.TrainingResult;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Trainings on one corpus, one after another: each has all of the device. A command that is given again goes on where it was
 * interrupted.
 *
 * @param page the live page, or null
 */
record RunSeries(
        Backend backend, Corpora.Found corpus, Interrupts interrupts, ProgressOptions progress, LiveServer page) {
    private static final Logger log = LoggerFactory.getLogger(RunSeries.class);

    /** A run that has come to its end. */
    record Trained(TrainingRun run, TrainingResult result) {}

    /** Trains a run, or goes on with it; empty if it was interrupted, which is said. */
    Optional<Trained> train(Path folder, Settings settings) throws IOException {
        TrainingRun run = open(folder, settings);
        TrainingResult result = run.train(Processes.ALONE, interrupts, progress, LiveOption.sinks(page, run.folder()));
        if (result.end() == TrainingResult.End.INTERRUPTED) {
            log.info("To go on: give the same command again.");
            return Optional.empty();
        }
        return Optional.of(new Trained(run, result));
    }

    /** Continues a run with the same settings; moves one with other settings out of the way. */
    private TrainingRun open(Path folder, Settings settings) throws IOException {
        if (Files.exists(folder.resolve(RunFolder.CONFIG))) {
            if (same(RunFolder.open(folder), settings.config(corpus.corpus()), settings)) {
                return TrainingRun.resume(backend, folder, corpus, null, false);
            }
            Path aside = folder;
            for (int i = 1; Files.exists(aside); i++) {
                aside = folder.resolveSibling(folder.getFileName() + "." + i);
            }
            try (Folder old = RunFolder.open(folder).lock()) { // fails if a process is training it
                Files.move(old.path(), aside);
            }
            log.info("{} held a run with other settings, which is now {}", folder, aside);
        }
        return TrainingRun.create(backend, folder, settings, corpus, null);
    }

    /** Compares resolved settings: runs of older versions lack some keys. */
    private static boolean same(RunFolder saved, ObjectNode wanted, Settings settings) {
        int vocabSize = wanted.at("/model/vocab_size").asInt();
        return saved.modelConfig().equals(settings.model(vocabSize))
                && Settings.trainConfig(saved.config(), null).equals(settings.train())
                && Settings.deviceSettings(saved.config()).equals(settings.device())
                && corpusOf(saved.config()).equals(corpusOf(wanted));
    }

    /** The identity of a corpus, independent of its path: its hash. */
    private static JsonNode corpusOf(ObjectNode config) {
        return config.at("/data/sha256");
    }
}
