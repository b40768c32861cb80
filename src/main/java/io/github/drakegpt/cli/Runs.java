package io.github.drakegpt.cli;

import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.Corpora;
import io.github.drakegpt.data.ProjectHome;
import io.github.drakegpt.model.Stage;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.report.RunReport;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Finds the runs that a command means. */
final class Runs {
    /** Default folder of runs, in the working directory. */
    static final Path FOLDER = Path.of("runs");

    private static final Logger log = LoggerFactory.getLogger(Runs.class);
    private static final String PRETRAINED = "data/pretrained";
    private static final int DEPTH = 3; // runs/RUN/state.json and runs/journey/RUN/state.json

    private Runs() {}

    /** Makes a new folder: the model's name with the time. Of two commands of one second, each makes its own. */
    static Path newFolder(String model) throws IOException {
        String time = LocalDateTime.now().format(DateTimeFormatter.ofPattern("yyyyMMdd-HHmmss"));
        Path folder = FOLDER.resolve(model + "-" + time);
        Files.createDirectories(FOLDER);
        for (int i = 2; ; i++) {
            try {
                return Files.createDirectory(folder);
            } catch (FileAlreadyExistsException e) {
                folder = FOLDER.resolve(model + "-" + time + "-" + i);
            }
        }
    }

    /**
     * The given folder, or the newest run of a model under {@code runs}, or the pretrained one.
     *
     * @param folder may be null
     * @param model a {@link Stage}'s name, may be null
     */
    static RunFolder find(Path folder, String model) throws IOException {
        if ((folder == null) == (model == null)) {
            throw new IllegalArgumentException("Say which model to use: either --run DIR or --model NAME.");
        }
        if (folder != null) {
            return RunFolder.open(folder);
        }
        Stage stage = Stage.of(model);
        Optional<RunFolder> newest = newest(stage);
        if (newest.isPresent()) {
            log.info("Using the newest {} under runs: {}", model, newest.get().path());
            return newest.get();
        }
        Optional<Path> pretrained = pretrained(model);
        if (pretrained.isEmpty()) {
            throw new IOException("There is no run of " + model + " under " + FOLDER
                    + " and no pretrained one; train it with `drakegpt train"
                    + (stage.quantization() == Quantization.NONE
                            ? " --model " + model
                            : " --quant " + stage.quantization().label())
                    + "`.");
        }
        log.info("Using the pretrained {}: {}", model, pretrained.get());
        return RunFolder.open(pretrained.get());
    }

    /** The run folder of a model that comes with the project. */
    static Optional<Path> pretrained(String model) {
        return ProjectHome.find(PRETRAINED + "/" + model);
    }

    /** Whether a run is one that comes with the project. */
    static boolean isPretrained(RunFolder run) {
        Path folder = run.path().toAbsolutePath().normalize();
        return ProjectHome.find(PRETRAINED)
                .filter(pretrained ->
                        folder.startsWith(pretrained.toAbsolutePath().normalize()))
                .isPresent();
    }

    private static Optional<RunFolder> newest(Stage stage) throws IOException {
        if (!Files.isDirectory(FOLDER)) {
            return Optional.empty();
        }
        List<Path> states;
        try (Stream<Path> files = Files.walk(FOLDER, DEPTH)) {
            states = files.filter(file -> file.endsWith(RunFolder.STATE)).toList();
        }
        List<RunFolder> runs = new ArrayList<>();
        for (Path state : states) {
            try {
                RunFolder run = RunFolder.open(state.getParent());
                if (Stage.of(run.modelConfig()).equals(stage)) {
                    runs.add(run);
                }
            } catch (IOException e) {
                log.warn("Passing over a run: {}", Main.sentence(e));
            }
        }
        RunFolder newest = null;
        FileTime time = null;
        for (RunFolder run : runs) {
            FileTime modified = Files.getLastModifiedTime(run.path().resolve(RunFolder.STATE));
            if (newest == null || modified.compareTo(time) > 0) {
                newest = run;
                time = modified;
            }
        }
        return Optional.ofNullable(newest);
    }

    /**
     * Reads runs: the given folders, and for a folder that is not a run all runs in it, in the order of the stages,
     * then by name. Damaged ones among the latter are skipped.
     *
     * @throws IOException if one is no folder, no run is in it, or a run that is given itself is damaged
     */
    static List<RunReport> reports(List<Path> folders) throws IOException {
        Map<Path, RunReport> found = new LinkedHashMap<>(); // each once, however its path is written
        for (Path folder : folders) {
            boolean holdsRuns = Files.isDirectory(folder) && !Files.exists(folder.resolve(RunFolder.CONFIG));
            for (RunReport run : holdsRuns ? below(folder) : List.of(RunReport.read(folder))) {
                found.putIfAbsent(run.folder().toAbsolutePath().normalize(), run);
            }
        }
        return RunReport.named(List.copyOf(found.values()));
    }

    private static List<RunReport> below(Path folder) throws IOException {
        List<Path> configs;
        try (Stream<Path> files = Files.walk(folder, DEPTH)) {
            configs = files.filter(file -> file.endsWith(RunFolder.CONFIG)).toList();
        }
        List<RunReport> runs = new ArrayList<>();
        for (Path config : configs) {
            try {
                runs.add(RunReport.read(config.getParent()));
            } catch (IOException e) {
                log.warn("Passing over a run: {}", Main.sentence(e));
            }
        }
        if (runs.isEmpty()) {
            throw new IOException(
                    folder + " has no runs in it; give the folder of a run, or one that holds such folders.");
        }
        runs.sort(Comparator.<RunReport>comparingInt(run -> Stage.ALL.indexOf(run.stage()))
                .thenComparing(RunReport::folder));
        return runs;
    }

    /** The validation split of a corpus as tokens; empty if the corpus has another vocabulary than the run. */
    static Optional<int[]> validation(RunFolder run, Corpora.Found corpus) {
        return corpus.corpus().tokenizer().equals(run.tokenizer())
                ? Optional.of(corpus.corpus().validationTokens())
                : Optional.empty();
    }

    static IllegalArgumentException otherVocabulary(RunFolder run, Corpora.Found corpus) {
        return new IllegalArgumentException("The corpus " + corpus.corpus().name() + " has another vocabulary than "
                + run.path() + "; give the one that it was trained on with --data.");
    }

    /** The corpus to go on with: the given one, or else the one that the run names if it is still there. */
    static Corpora.Found corpusOf(Path run, Path given) throws IOException {
        if (given != null) {
            return Corpora.find(given);
        }
        String source = RunFolder.open(run).config().path("data").path("source").asText();
        boolean isHere = !source.isEmpty() && Files.isDirectory(Path.of(source));
        return isHere ? Corpora.find(Path.of(source)) : Corpora.sample();
    }
}
