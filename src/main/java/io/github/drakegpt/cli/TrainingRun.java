package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.checkpoint.ChangedFileException;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.Corpora;
import io.github.drakegpt.data.Corpus;
import io.github.drakegpt.data.Folder;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.profile.GpuPeaks;
import io.github.drakegpt.profile.TrainingCost;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tracking.MetricsFile;
import io.github.drakegpt.tracking.MetricsRecorder;
import io.github.drakegpt.tracking.MetricsSink;
import io.github.drakegpt.tracking.ModelCard;
import io.github.drakegpt.tracking.TensorBoardFile;
import io.github.drakegpt.train.Settings;
import io.github.drakegpt.train.TextSampler;
import io.github.drakegpt.train.TrainConfig;
import io.github.drakegpt.train.Trainer;
import io.github.drakegpt.train.TrainingListener;
import io.github.drakegpt.train.TrainingResult;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.BooleanSupplier;
import java.util.function.UnaryOperator;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A run that is being trained: its folder, its corpus, and its listeners. */
final class TrainingRun {
    private static final Logger log = LoggerFactory.getLogger(TrainingRun.class);
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String SUB_NORM = ".sub_norm.";

    private final Backend backend;
    private final RunFolder folder;
    private final TrainConfig train;
    private final Corpus corpus;
    private final SettingsTable settings;
    private final boolean fresh;
    private final RunFolder initFrom; // or null
    private final boolean ignoreChecksums;

    private TrainingRun(
            Backend backend,
            RunFolder folder,
            TrainConfig train,
            Corpus corpus,
            UnaryOperator<String> source,
            boolean fresh,
            RunFolder initFrom,
            boolean ignoreChecksums) {
        this.backend = backend;
        this.folder = folder;
        this.train = train;
        this.corpus = corpus;
        ObjectNode config = folder.config().deepCopy();
        config.set("train", JSON.valueToTree(train));
        this.settings = SettingsTable.of(config, source);
        this.fresh = fresh;
        this.initFrom = initFrom;
        this.ignoreChecksums = ignoreChecksums;
    }

    /**
     * A new run in a new folder.
     *
     * @param initFrom the run whose weights it begins with, or null
     */
    static TrainingRun create(Backend backend, Path path, Settings settings, Corpora.Found corpus, RunFolder initFrom)
            throws IOException {
        if (Files.exists(path.resolve(RunFolder.CONFIG))) {
            throw new IllegalArgumentException(
                    path + " already holds a run; continue it with --resume " + path + ", or choose another folder.");
        }
        return new TrainingRun(
                backend,
                RunFolder.createLocked(
                        path, settings.config(corpus.corpus()), corpus.corpus().tokenizer()),
                settings.train(),
                corpus.corpus(),
                key -> key.equals("model.vocab_size") || key.startsWith("data.") ? "corpus" : settings.source(key),
                true,
                initFrom,
                false);
    }

    /**
     * A run that goes on.
     *
     * @param corpus which must be the one that the run was begun with
     * @param iters another number of steps, or null
     * @param ignoreChecksums whether to go on with a checkpoint whose files have changed since they were saved
     */
    static TrainingRun resume(Backend backend, Path path, Corpora.Found corpus, Integer iters, boolean ignoreChecksums)
            throws IOException {
        RunFolder folder = RunFolder.open(path);
        folder.requireTrainable();
        if (!folder.config().has("data")) {
            throw new IllegalArgumentException(path + " was imported without the corpus that it was trained on; begin a"
                    + " new run with --init-from " + path + ".");
        }
        if (!folder.config()
                .path("data")
                .path("sha256")
                .asText()
                .equals(corpus.corpus().sha256())) {
            throw new IllegalArgumentException("The corpus " + corpus.corpus().name() + " is not the one that " + path
                    + " was trained on ("
                    + folder.config().path("data").path("source").asText()
                    + "); give that with --data, or begin a new run with --init-from " + path + ".");
        }
        TrainConfig train = Settings.trainConfig(folder.config(), iters);
        if (folder.hasCheckpoint()) {
            warnOfStretchedSchedule(
                    Settings.trainConfig(folder.config(), null),
                    train,
                    folder.state().step() + 1);
        }
        return new TrainingRun(
                backend,
                folder,
                train,
                corpus.corpus(),
                key -> key.equals("train.iters") && iters != null ? "--iters" : RunFolder.CONFIG,
                false,
                null,
                ignoreChecksums);
    }

    /** Another number of steps changes the rate of all steps, if the schedule goes from the first step to the last. */
    private static void warnOfStretchedSchedule(TrainConfig before, TrainConfig now, int step) {
        double was = before.learningRate(step);
        double is = now.learningRate(step);
        if (step <= now.iters() && was != is) {
            log.warn(
                    "The learning rate of step {} is {}, where it would be {} without --iters: the {} schedule now ends"
                            + " at step {} instead of {}.",
                    step,
                    String.format(Locale.ROOT, "%.3g", is),
                    String.format(Locale.ROOT, "%.3g", was),
                    now.schedule().toString().toLowerCase(Locale.ROOT),
                    now.iters(),
                    before.iters());
        }
    }

    RunFolder folder() {
        return folder;
    }

    /**
     * Trains to the end, or until it is asked to stop. A new run that fails before its first checkpoint is removed.
     *
     * @param processes that train it, of which this is the first; the others {@link #follow}
     * @param sinks receive the metrics too, after they were written
     */
    TrainingResult train(Processes processes, BooleanSupplier stop, ProgressOptions progress, MetricsSink... sinks)
            throws IOException {
        Folder lock = folder.lock();
        try (lock) {
            try {
                return trainLocked(processes, stop, progress, sinks);
            } catch (IOException | RuntimeException | OutOfMemoryError e) {
                if (fresh && !folder.hasStarted()) {
                    folder.discard();
                }
                throw e;
            }
        }
    }

    /** Writes the machine that trains the run, if there is anything left to train. */
    private final class MachineNote implements TrainingListener {
        @Override
        public void onStart(Start start) throws IOException {
            if (start.firstStep() <= start.train().iters()) {
                folder.writeMachine(machine(start));
            }
        }
    }

    private static Map<String, String> machine(TrainingListener.Start start) throws IOException {
        Map<String, String> machine = new LinkedHashMap<>();
        machine.put("device", start.device());
        machine.put("precision", start.precision().label());
        machine.putAll(Machine.facts());
        machine.put("drakegpt", Main.version());
        return machine;
    }

    /** The time of a step at the GPU's peak rate, where that is known; empty for a quantized model. */
    private OptionalDouble secondsAtPeak() {
        Optional<GpuPeaks> peaks = GpuPeaks.of(backend.description());
        if (peaks.isEmpty() || folder.modelConfig().quant() != Quantization.NONE) {
            return OptionalDouble.empty();
        }
        double flops = TrainingCost.flops(folder.modelConfig(), train.sequencesPerStep());
        return OptionalDouble.of(flops / (1e12 * peaks.get().teraflops(backend.precision())));
    }

    /** A text that the model writes as it was saved last. */
    String sample(int length) throws IOException {
        try (TextSampler sampler = new TextSampler(backend, folder.loadWeights(), folder.tokenizer())) {
            return sampler.sample(length);
        }
    }

    private TrainingResult trainLocked(
            Processes processes, BooleanSupplier stop, ProgressOptions progress, MetricsSink... more)
            throws IOException {
        List<MetricsSink> sinks = new ArrayList<>();
        sinks.add(new MetricsFile(folder));
        sinks.add(new TensorBoardFile(folder));
        sinks.add(new ModelCard(folder));
        sinks.addAll(List.of(more));
        RunLog log = new RunLog(folder);
        try (log;
                Progress shown = progress.show(settings, secondsAtPeak());
                MetricsRecorder recorder = new MetricsRecorder(sinks);
                Trainer trainer = new Trainer(
                        backend,
                        processes.collective(),
                        folder.modelConfig(),
                        train,
                        corpus,
                        folder,
                        List.of(new MachineNote(), shown, recorder))) {
            folder.recover();
            if (folder.hasCheckpoint()) {
                if (!ignoreChecksums) {
                    verify(folder);
                }
                trainer.restore(folder.load(trainer.parameters()));
            } else if (initFrom != null) {
                trainer.initializeFrom(
                        initialWeights(trainer.parameters(), folder.modelConfig(), train, corpus, initFrom));
                trainer.save(); // so that a run that is killed before its first evaluation goes on with these weights
            }
            processes.meet(); // the others can read the checkpoint
            return trainer.train(stop);
        }
    }

    /**
     * What the other processes do while the first one trains a run: the same without its folder.
     *
     * @param resumed the run that goes on, whose folder this process can read, or null
     * @param initFrom the run whose weights it begins with, or null
     */
    static void follow(
            Processes processes,
            Backend backend,
            ModelConfig model,
            TrainConfig train,
            Corpus corpus,
            RunFolder resumed,
            RunFolder initFrom,
            BooleanSupplier stop)
            throws IOException {
        try (Trainer trainer = new Trainer(backend, processes.collective(), model, train, corpus, null, List.of())) {
            if (initFrom != null) {
                trainer.initializeFrom(initialWeights(trainer.parameters(), model, train, corpus, initFrom));
            }
            processes.meet();
            if (resumed != null && resumed.hasCheckpoint()) {
                trainer.restore(resumed.load(trainer.parameters()));
            }
            trainer.train(stop);
        }
    }

    private static void verify(RunFolder folder) throws IOException {
        try {
            folder.verify();
        } catch (ChangedFileException e) {
            throw new IOException(
                    e.change() + "; take it from a backup, or go on with it as it is with --resume " + folder.path()
                            + " --ignore-checksums.",
                    e);
        }
    }

    /** The other run's weights; norms that only a quantized model has get their initial values. */
    private static float[] initialWeights(
            Parameters ours, ModelConfig model, TrainConfig train, Corpus corpus, RunFolder initFrom)
            throws IOException {
        if (!initFrom.tokenizer().equals(corpus.tokenizer())) {
            throw new IllegalArgumentException(initFrom.path() + " was trained with another vocabulary than "
                    + corpus.name() + " has; begin without --init-from, or give the corpus it was trained on.");
        }
        Map<String, Parameters.Entry> theirs = new HashMap<>();
        LanguageModel.parametersOf(initFrom.modelConfig()).entries().forEach(entry -> theirs.put(entry.name(), entry));
        float[] from = initFrom.loadTrainedWeights();
        float[] weights = ours.initialValues(train.seed());
        for (Parameters.Entry entry : ours.entries()) {
            Parameters.Entry same = theirs.remove(entry.name());
            if (same != null && same.shape().equals(entry.shape())) {
                System.arraycopy(
                        from,
                        Math.toIntExact(same.offset()),
                        weights,
                        Math.toIntExact(entry.offset()),
                        Math.toIntExact(entry.shape().size()));
            } else if (same != null || !entry.name().contains(SUB_NORM)) {
                throw otherWeights(model, initFrom);
            }
        }
        if (!theirs.isEmpty()) {
            throw otherWeights(model, initFrom);
        }
        return weights;
    }

    private static IllegalArgumentException otherWeights(ModelConfig model, RunFolder initFrom) {
        return new IllegalArgumentException(initFrom.path() + " holds a "
                + initFrom.modelConfig().name() + " with other weights than this "
                + model.name() + " has; train with the model settings of its config.json, or"
                + " begin without --init-from.");
    }
}
