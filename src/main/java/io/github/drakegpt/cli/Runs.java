package io.github.drakegpt.cli;

import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.Corpora;
import io.github.drakegpt.data.Corpus;
import io.github.drakegpt.data.ProjectHome;
import io.github.drakegpt.model.Stage;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.report.RunReport;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Finds the runs that a command means. */
final class Runs {
    /** Default folder of runs, in the working directory. */
    static final Path FOLDER = Path.of("runs");

    private static final Logger log = LoggerFactory.getLogger(Runs.class);
    /** The model that comes with the project and writes best: of laptop's size, packed. */
    private static final String BEST_PRETRAINED = "TransformerLM-b1.58";

    private static final String PRETRAINED = "data/pretrained";
    private static final int DEPTH = 3; // runs/RUN/config.json and runs/journey/RUN/config.json

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
     * The run that a command uses, which is logged: the given folder, or that of {@link ModelRuns}, or the best one that
     * comes with the project if neither is given.
     *
     * @param folder may be null
     * @param model a {@link Stage}'s name, may be null
     * @param pretrained whether only the one that comes with the project is meant
     * @param weights which of the run's
     */
    static RunFolder find(Path folder, String model, boolean pretrained, RunFolder.WeightsOf weights)
            throws IOException {
        if (folder != null && (model != null || pretrained)) {
            throw new IllegalArgumentException(
                    "--run says already which run to use; leave out --model and --pretrained.");
        }
        RunFolder found = folder != null
                ? RunFolder.open(folder)
                : model == null || pretrained
                        ? requirePretrained(Stage.of(model == null ? BEST_PRETRAINED : model))
                        : requireModel(Stage.of(model), weights);
        RunFolder run = found.with(weights);
        log.info("Using {}", RunSummary.of(run));
        return run;
    }

    private static RunFolder requireModel(Stage stage, RunFolder.WeightsOf weights) throws IOException {
        ModelRuns runs = new ModelRuns(own());
        runs.warnOfOtherCorpora(stage);
        return runs.of(stage, weights)
                .orElseThrow(() -> new IOException("There is no finished run of " + stage.name() + " under " + FOLDER
                        + " on the corpus in use, and no pretrained one; train it with `" + Main.program() + " train"
                        + (stage.quantization() == Quantization.NONE
                                ? " --model " + stage.name()
                                : " --quant " + stage.quantization().label())
                        + "`, or name a run with --run."));
    }

    private static RunFolder requirePretrained(Stage stage) throws IOException {
        Optional<Path> folder = pretrained(stage.name());
        if (folder.isEmpty()) {
            String names =
                    allPretrained().stream().map(run -> run.stage().name()).collect(Collectors.joining(", "));
            throw new IOException("There is no pretrained " + stage.name()
                    + (names.isEmpty() ? "; train it." : "; choose one of " + names + "."));
        }
        return RunFolder.open(folder.get());
    }

    /** The runs under {@code runs}. */
    static List<RunSummary> own() throws IOException {
        return Files.isDirectory(FOLDER) ? in(List.of(FOLDER)) : List.of();
    }

    /** Those that come with the project. */
    static List<RunSummary> allPretrained() throws IOException {
        Optional<Path> folder = ProjectHome.find(PRETRAINED);
        return folder.isEmpty() ? List.of() : in(List.of(folder.get()));
    }

    /** The runs that these folders are or hold. Damaged ones are skipped. */
    static List<RunSummary> in(List<Path> folders) throws IOException {
        List<RunSummary> runs = new ArrayList<>();
        for (Path folder : folders) {
            for (Path run : runFolders(folder)) {
                try {
                    runs.add(RunSummary.of(RunFolder.open(run)));
                } catch (IOException e) {
                    log.warn("Passing over a run: {}", Main.sentence(e));
                }
            }
        }
        return runs;
    }

    /** The folders of runs at and below a folder. */
    private static List<Path> runFolders(Path folder) throws IOException {
        try (Stream<Path> files = Files.walk(folder, DEPTH)) {
            return files.filter(file -> file.endsWith(RunFolder.CONFIG))
                    .map(Path::getParent)
                    .sorted()
                    .toList();
        }
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
        List<RunReport> runs = new ArrayList<>();
        for (Path run : runFolders(folder)) {
            try {
                runs.add(RunReport.read(run));
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

    /** Says which corpus is trained on, and why that one. */
    static void log(Corpora.Found found) {
        Corpus corpus = found.corpus();
        log.info(String.format(
                Locale.ROOT,
                "Corpus %s: %,d characters to train on, %,d to validate on",
                found.description(),
                corpus.train().length,
                corpus.val().length));
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
