package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.node.TextNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.TrainingState;
import io.github.drakegpt.data.Corpora;
import io.github.drakegpt.data.Folder;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.model.Stage;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.report.LiveServer;
import io.github.drakegpt.report.Progression;
import io.github.drakegpt.report.QuantizationCost;
import io.github.drakegpt.report.ReportPage;
import io.github.drakegpt.report.RunReport;
import io.github.drakegpt.report.SeedGroup;
import io.github.drakegpt.train.Settings;
import io.github.drakegpt.train.TrainingResult;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code journey}: trains the six models on one corpus and compares them. */
@Command(
        name = "journey",
        mixinStandardHelpOptions = true,
        description = {
            "Trains the six models one after the other on one corpus, each adding something to the one before, then the"
                    + " last one with weights of 1.58 bits and of one, and in full precision with the settings of these; prints a"
                    + " table and a sample of each and writes a report.",
            "Run again with the same settings, it goes on where it was interrupted."
        })
final class JourneyCommand implements Callable<Integer> {
    private static final Logger log = LoggerFactory.getLogger(JourneyCommand.class);
    private static final String REPORT = "report.html";
    private static final int SAMPLE_LENGTH = 200;
    private static final int BAR_LENGTH = 20; // characters, of the largest change
    private static final double PROFILE_SECONDS = 0.25; // less would time the JIT compiler

    @Option(
            names = "--data",
            paramLabel = "DIR",
            description =
                    "Corpus to train on (default: the last that setup made or was told to use, else the bundled sample).")
    private Path data;

    @Option(
            names = "--models",
            paramLabel = "NAME",
            split = ",",
            description = "Only these models, with commas between them.")
    private List<String> models = JourneyRun.ALL.stream().map(JourneyRun::name).toList();

    @Option(
            names = "--out",
            paramLabel = "DIR",
            defaultValue = "runs/journey",
            description = "Folder that gets a run folder for each model (default: ${DEFAULT-VALUE}).")
    private Path out;

    @Mixin
    private SettingsOptions settings;

    @Mixin
    private DeviceOptions device;

    @Mixin
    private ProgressOptions progress;

    @Mixin
    private LiveOption live;

    @Override
    public Integer call() throws IOException {
        Map<JourneyRun, Settings> resolved = new LinkedHashMap<>();
        for (JourneyRun part : models.stream().map(JourneyRun::of).toList()) {
            Settings partSettings = settings(part);
            device.layOver(partSettings);
            partSettings.train(); // wrong settings are refused before a folder is made
            resolved.put(part, partSettings);
        }
        List<Row> rows = new ArrayList<>();
        try (LiveServer page = live.serve();
                Backend backend =
                        device.open(resolved.values().iterator().next().device());
                Interrupts interrupts = new Interrupts()) {
            Corpora.Found corpus = Corpora.find(data);
            Runs.log(corpus);
            Folder ours = Folder.make(out); // else two journeys would train each other's models
            try (ours) {
                RunSeries series = new RunSeries(backend, corpus, interrupts, progress, page);
                for (JourneyRun part : resolved.keySet()) {
                    Optional<RunSeries.Trained> trained = series.train(out.resolve(part.name()), resolved.get(part));
                    if (trained.isEmpty()) {
                        return 0;
                    }
                    TrainingRun run = trained.get().run();
                    rows.add(new Row(part, run.folder(), trained.get().result(), run.sample(SAMPLE_LENGTH)));
                }
                profile(backend, rows, corpus);
            }
        }
        List<RunReport> reports =
                RunReport.read(rows.stream().map(row -> row.folder().path()).toList());
        print(rows);
        List<SeedGroup> groups = SeedGroup.of(reports);
        Progression.of(groups).forEach(JourneyCommand::print);
        QuantizationCost.of(groups).forEach(cost -> System.out.println(cost.sentence()));
        Path report = out.resolve(REPORT);
        ReportPage.write(report, reports);
        log.info("Report {}", report);
        return 0;
    }

    /** @throws IllegalArgumentException if the options ask for another quantization than the run's */
    private Settings settings(JourneyRun part) throws IOException {
        Stage stage = part.stage();
        Settings resolved = settings.resolve(false, part.hasQuantizedSettings() ? stage.quantization() : null, null)
                .set("model.name", TextNode.valueOf(stage.model()), "journey");
        Quantization asked = resolved.model(1).quant(); // independent of the vocabulary
        if (asked != stage.quantization()) {
            throw new IllegalArgumentException("model.quant is " + asked.label() + ", where " + part.name() + " has "
                    + stage.quantization().label() + "; leave it out, and choose runs with --models.");
        }
        return resolved;
    }

    /** Measures the speed of the quantized models and of those in full precision. */
    private static void profile(Backend backend, List<Row> rows, Corpora.Found corpus) throws IOException {
        List<RunFolder> transformers = rows.stream()
                .filter(row -> row.part().stage().model().equals(Models.TRANSFORMER))
                .sorted(Comparator.comparing(
                        row -> !row.part().isReference())) // the others are compared with the first
                .map(Row::folder)
                .toList();
        if (transformers.size() > 1) {
            log.info("Measuring how fast {} models write", transformers.size());
            int[] val = Runs.validation(transformers.get(0), corpus).orElseThrow();
            Profiles.of(backend, transformers, val, PROFILE_SECONDS);
        }
    }

    private record Row(JourneyRun part, RunFolder folder, TrainingResult result, String sample) {}

    private static void print(List<Row> rows) {
        Table table = new Table("model", "parameters", "weight bytes", "train loss", "val loss", "seconds", "steps/s");
        double seconds = 0;
        for (Row row : rows) {
            System.out.println("=== " + row.part().name() + ": " + row.part().adds());
            System.out.println(Terminal.shown(row.sample().strip()));
            System.out.println();
            TrainingState state = row.result().state();
            seconds += state.elapsedSeconds();
            table.add(
                    row.part().name(),
                    String.format(Locale.ROOT, "%,d", row.result().parameters()),
                    String.format(Locale.ROOT, "%,d", Weights.bytes(row.folder().modelConfig())),
                    String.format(Locale.ROOT, "%.4f", state.trainLoss()),
                    String.format(Locale.ROOT, "%.4f", state.shownValLoss()),
                    String.format(Locale.ROOT, "%.1f", state.elapsedSeconds()),
                    String.format(Locale.ROOT, "%,.0f", row.result().stepsPerSecond()));
        }
        System.out.print(table);
        System.out.printf(
                Locale.ROOT,
                "Losses in nats per character: val over the whole validation split, train estimated; %.1f seconds of"
                        + " training in all.%n",
                seconds);
    }

    /** What each part bought. */
    private static void print(Progression progression) {
        Table table = Table.ofText("model", "val loss", "change", "");
        for (Progression.Step step : progression.steps()) {
            double change = step.change().orElse(0.0);
            long length = Math.round(BAR_LENGTH * Math.abs(change) / progression.largestChange());
            table.add(
                    step.group().stage().name(),
                    String.format(Locale.ROOT, "%8.4f", step.valLoss()),
                    step.change().isEmpty() ? "" : String.format(Locale.ROOT, "%+.3f", change),
                    (change < 0 ? "#" : "+").repeat((int) length));
        }
        System.out.println();
        System.out.print(table);
        System.out.println(progression.sentence());
    }
}
