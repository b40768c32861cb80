package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.node.TextNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.Corpora;
import io.github.drakegpt.data.Folder;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Stage;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.report.LiveServer;
import io.github.drakegpt.report.ReportPage;
import io.github.drakegpt.report.RunReport;
import io.github.drakegpt.report.SeedGroup;
import io.github.drakegpt.train.DeviceSettings;
import io.github.drakegpt.train.DivergedException;
import io.github.drakegpt.train.Settings;
import io.github.drakegpt.train.TrainConfig;
import io.github.drakegpt.train.TrainingResult;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code train}: trains one model into a run folder. */
@Command(
        name = "train",
        mixinStandardHelpOptions = true,
        description = "Trains a model, evaluates it as it goes, saves it into a run folder and prints a sample.",
        footer = {
            "",
            "Examples:",
            "  ${COMMAND-FULL-NAME} --model BigramLM --iters 2000",
            "  ${COMMAND-FULL-NAME} --config laptop --data data/drake --set train.patience=4",
            "  ${COMMAND-FULL-NAME} --quant b1.58 --init-from runs/journey/TransformerLM",
            "  ${COMMAND-FULL-NAME} --config laptop --live",
            "  ${COMMAND-FULL-NAME} --config laptop --ranks 2",
            "  ${COMMAND-FULL-NAME} --sweep train.max_lr=0.002,0.005,0.01 --seeds 3",
            "  ${COMMAND-FULL-NAME} --resume runs/TransformerLM-20261123-093000"
        })
final class TrainCommand implements Callable<Integer> {
    private static final Logger log = LoggerFactory.getLogger(TrainCommand.class);
    private static final int SAMPLE_LENGTH = 300;

    @Option(
            names = "--model",
            paramLabel = "NAME",
            completionCandidates = Candidates.OfModels.class,
            description = "Which of the six models (default: TransformerLM).")
    private String model;

    @Option(names = "--scale", description = "Use the large configuration; the same as --config scaled.")
    private boolean scale;

    @Option(
            names = "--quant",
            paramLabel = "none|bitnet|b1.58",
            completionCandidates = Candidates.OfQuantizations.class,
            description =
                    "Round TransformerLM's weights while training: bitnet (1 bit) or b1.58, with the schedule and the norms"
                            + " that suit it; none: in full precision with the same, to compare with.")
    private String quant;

    @Option(
            names = "--data",
            paramLabel = "DIR",
            description =
                    "Corpus to train on (default: the last that setup made or was told to use, else the bundled sample).")
    private Path data;

    @Option(
            names = "--run",
            paramLabel = "DIR",
            description =
                    "Folder of the new run (default: runs/ and the model's name with the time); with --seeds or --sweep"
                            + " the one that gets a folder for each run (default: runs/ and the model's name with -sweep).")
    private Path run;

    @Option(names = "--resume", paramLabel = "DIR", description = "Go on with a run from its last checkpoint.")
    private Path resume;

    @Option(
            names = "--ignore-checksums",
            description = "Go on with files that have changed since the checkpoint was saved.")
    private boolean ignoreChecksums;

    @Option(
            names = "--init-from",
            paramLabel = "DIR",
            description = "Begin with the weights of another run, in a model of its sizes.")
    private Path initFrom;

    @Mixin
    private CheckpointOption checkpoint;

    @Option(
            names = "--ranks",
            paramLabel = "N",
            description = "Train in N processes on this machine, started with MPI's mpirun (default: 1).")
    private int ranks = 1;

    @Mixin
    private SweepOptions sweep;

    @Spec
    private CommandSpec spec;

    @Mixin
    private LiveOption live;

    @Mixin
    private SettingsOptions settings;

    @Mixin
    private DeviceOptions device;

    @Mixin
    private ProgressOptions progress;

    @Override
    public Integer call() throws Exception {
        if (resume != null
                && (run != null
                        || model != null
                        || scale
                        || quant != null
                        || initFrom != null
                        || sweep.areGiven()
                        || settings.changeMoreThanIters()
                        || device.changesSettings())) {
            throw new IllegalArgumentException(
                    "A resumed run keeps its settings; give --resume with nothing but --iters, --data, --device,"
                            + " --threads or --ignore-checksums.");
        }
        if (ignoreChecksums && resume == null) {
            throw new IllegalArgumentException(
                    "--ignore-checksums is about a run that goes on; give that run with --resume.");
        }
        if (checkpoint.isBest() && initFrom == null) {
            throw new IllegalArgumentException(
                    "--checkpoint says which weights of another run to begin with; give that run with --init-from.");
        }
        if (ranks < 1) {
            throw new IllegalArgumentException("--ranks " + ranks + " is no number of processes; give 1 or more.");
        }
        if (ranks > 1 && Processes.rank().size() == 1) {
            return MpiRun.run(ranks, argumentsOfARank());
        }
        if (sweep.areGiven()) {
            if (Processes.rank().size() > 1) {
                throw new IllegalArgumentException(
                        "--seeds and --sweep train each run in one process; start one, without mpirun and --ranks.");
            }
            return trainAll();
        }
        return Processes.run(this::train);
    }

    /** What was given to this program, without the number of processes. */
    private List<String> argumentsOfARank() {
        List<String> arguments =
                new ArrayList<>(spec.root().commandLine().getParseResult().originalArgs());
        arguments.removeIf(argument -> argument.startsWith("--ranks="));
        int separate = arguments.indexOf("--ranks");
        if (separate >= 0) {
            arguments.subList(separate, separate + 2).clear();
        }
        return arguments;
    }

    /** What a training needs to know before a device is opened. @param resolved null if a run goes on */
    private record Plan(
            Settings resolved,
            Corpora.Found corpus,
            DeviceSettings device,
            ModelConfig model,
            TrainConfig train,
            RunFolder resumed,
            RunFolder initFrom) {
        /** What must be the same in all processes. */
        Map<String, String> facts() throws IOException {
            Map<String, String> facts = new LinkedHashMap<>();
            facts.put("version of this program", Main.version());
            facts.put(
                    "corpus",
                    corpus.corpus().name() + ", SHA-256 " + corpus.corpus().sha256());
            facts.put("model", model.toString());
            facts.put("training", train.toString());
            facts.put("precision", device.precision());
            return facts;
        }
    }

    private Plan plan() throws IOException {
        Settings resolved = resume == null ? resolve() : null; // wrong settings are refused before a device is opened
        Corpora.Found corpus = resume == null ? Corpora.find(data) : Runs.corpusOf(resume, data);
        if (resume == null) {
            return new Plan(
                    resolved,
                    corpus,
                    resolved.device(),
                    resolved.model(corpus.corpus().tokenizer().size()),
                    resolved.train(),
                    null,
                    initFrom == null ? null : checkpoint.open(initFrom));
        }
        RunFolder folder = RunFolder.open(resume);
        return new Plan(
                null,
                corpus,
                Settings.deviceSettings(folder.config()),
                folder.modelConfig(),
                Settings.trainConfig(folder.config(), settings.iters()),
                folder,
                null);
    }

    private int train(Processes processes) throws Exception {
        Plan plan = processes.agree(this::plan);
        processes.compare(plan.facts());
        device.shareCores(processes.onTheseCores());
        Runs.log(plan.corpus());
        try (LiveServer page = processes.isFirst() ? live.serve() : null;
                Backend backend = device.open(plan.device());
                Interrupts interrupts = new Interrupts()) {
            if (!processes.isFirst()) {
                TrainingRun.follow(
                        processes,
                        backend,
                        plan.model(),
                        plan.train(),
                        plan.corpus().corpus(),
                        plan.resumed(),
                        plan.initFrom(),
                        interrupts);
                return 0;
            }
            TrainingRun training = resume == null
                    ? create(backend, plan)
                    : TrainingRun.resume(backend, resume, plan.corpus(), settings.iters(), ignoreChecksums);
            log.info("Run folder {}", training.folder().path());
            TrainingResult result =
                    training.train(processes, interrupts, progress, LiveOption.sinks(page, training.folder()));
            if (result.end() == TrainingResult.End.INTERRUPTED) {
                log.info("To go on: {}", resumeCommand(training.folder().path()));
                return 0;
            }
            System.out.println(Terminal.shown(training.sample(SAMPLE_LENGTH)));
            return 0;
        }
    }

    /** Trains with each seed and each combination of values, and compares. */
    private int trainAll() throws IOException {
        if (initFrom != null) {
            throw new IllegalArgumentException(
                    "--seeds and --sweep compare trainings from the start; leave out --init-from.");
        }
        Map<String, Settings> runs = sweep.runs(this::resolve);
        Settings first = runs.values().iterator().next();
        Path parent =
                run != null ? run : Runs.FOLDER.resolve(Stage.of(first.model(1)).name() + "-sweep");
        List<Path> folders = new ArrayList<>();
        Corpora.Found corpus = Corpora.find(data);
        Runs.log(corpus);
        try (LiveServer page = live.serve();
                Backend backend = device.open(first.device());
                Interrupts interrupts = new Interrupts();
                Folder ours = Folder.make(parent)) { // else two commands would train each other's runs
            RunSeries series = new RunSeries(backend, corpus, interrupts, progress, page);
            for (Map.Entry<String, Settings> each : runs.entrySet()) {
                Path folder = ours.path().resolve(each.getKey());
                log.info("Run {} of {}: {}", folders.size() + 1, runs.size(), folder);
                try {
                    if (series.train(folder, each.getValue()).isEmpty()) {
                        return 0;
                    }
                } catch (DivergedException e) { // the others are compared all the same
                    log.warn("{}: {}", folder, e.getMessage());
                }
                folders.add(folder);
            }
        }
        folders.removeIf(folder -> !Files.exists(folder)); // diverged before its first checkpoint
        if (folders.isEmpty()) {
            throw new IOException("No run came to a checkpoint; lower train.max_lr, or set train.grad_clip to 1.");
        }
        List<RunReport> reports = RunReport.read(folders);
        System.out.print(Spread.table(SeedGroup.of(reports)));
        System.out.println(
                "Mean val loss in nats per character over the whole validation split, and its standard deviation"
                        + " over the seeds.");
        Path report = parent.resolve("report.html");
        ReportPage.write(report, reports);
        log.info("Report {}", report);
        return 0;
    }

    /** Includes the options that config.json does not store: a corpus or a number of steps given to this command. */
    private String resumeCommand(Path folder) {
        StringBuilder command =
                new StringBuilder(Main.program()).append(" train --resume ").append(Shell.quoted(folder.toString()));
        if (resume != null && data != null) {
            command.append(" --data ").append(Shell.quoted(data.toString()));
        }
        if (resume != null && settings.iters() != null) {
            command.append(" --iters ").append(settings.iters());
        }
        return command.toString();
    }

    private Settings resolve() throws IOException {
        Quantization quantization = quant == null ? null : Quantization.of(quant);
        ModelConfig begin = initFrom == null ? null : RunFolder.open(initFrom).modelConfig();
        Settings resolved = settings.resolve(scale, quantization, begin);
        if (model != null) {
            resolved.set("model.name", TextNode.valueOf(model), "--model");
        }
        device.layOver(resolved);
        resolved.train();
        return resolved;
    }

    private TrainingRun create(Backend backend, Plan plan) throws IOException {
        String name = Stage.of(plan.model()).name();
        return TrainingRun.create(
                backend, run != null ? run : Runs.newFolder(name), plan.resolved(), plan.corpus(), plan.initFrom());
    }
}
