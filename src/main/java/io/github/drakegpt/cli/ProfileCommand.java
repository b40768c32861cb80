package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Measuring.Bound;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.AtomicFiles;
import io.github.drakegpt.data.Corpora;
import io.github.drakegpt.profile.RunProfiler;
import io.github.drakegpt.profile.ShapeProfiler;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code profile}: compares cost and quality of quantized models with full precision. */
@Command(
        name = "profile",
        mixinStandardHelpOptions = true,
        description = {
            "Compares runs on the same text, with the first as the baseline: speed of reading a prompt"
                    + " (prefill) and of drawing characters (decode) at batch 1, 8 and 64, memory, loss, how often the most"
                    + " likely next character is the same, and the time of each group of operations. Each run's folder keeps its"
                    + " figures as profile.json, for `report`.",
            "With --shapes it times matrix products of the sizes of a large model instead; on a CPU also as shares of what it"
                    + " reads from memory, and of what it multiplies in that type, at most, each measured for a second."
        },
        footer = {
            "",
            "Examples:",
            "  ${COMMAND-FULL-NAME} --run runs/journey/TransformerLM --run runs/journey/TransformerLM-b1.58",
            "  ${COMMAND-FULL-NAME} --shapes bitnet-2b --json"
        })
final class ProfileCommand implements Callable<Integer> {
    private static final Logger log = LoggerFactory.getLogger(ProfileCommand.class);
    private static final ObjectWriter JSON = new ObjectMapper().writerWithDefaultPrettyPrinter();
    private static final String BITNET_2B = "bitnet-2b";

    @Option(
            names = "--run",
            paramLabel = "DIR",
            description = "Folder of a run; may be given several times, full precision first.")
    private List<Path> runs = new ArrayList<>();

    @Mixin
    private CheckpointOption checkpoint;

    @Option(
            names = "--shapes",
            paramLabel = "NAME",
            description = "Sizes of matrices to multiply instead: bitnet-2b, those of BitNet b1.58 2B4T.")
    private String shapes;

    @Option(
            names = "--data",
            paramLabel = "DIR",
            description = "Corpus whose validation split is read (default: the first run's).")
    private Path data;

    @Option(
            names = "--seconds",
            paramLabel = "S",
            defaultValue = "0.5",
            description = "How long to measure each (default: ${DEFAULT-VALUE}).")
    private double seconds;

    @Option(
            names = "--json",
            description =
                    "Print one JSON object; with --shapes lines, each product's as it comes, with `error` if it failed.")
    private boolean json;

    @Option(
            names = "--trace",
            paramLabel = "FILE",
            description = "Write the operations of a prompt and of a character, for chrome://tracing or Perfetto.")
    private Path trace;

    @Mixin
    private DeviceOptions device;

    @Override
    public Integer call() throws IOException {
        if (runs.isEmpty() == (shapes == null)) {
            throw new IllegalArgumentException("Say what to profile: either --run DIR, or --shapes " + BITNET_2B + ".");
        }
        if (!(seconds > 0) || Double.isInfinite(seconds)) {
            throw new IllegalArgumentException("--seconds is " + seconds + "; give a number above 0.");
        }
        if (shapes != null && !shapes.equals(BITNET_2B)) {
            throw new IllegalArgumentException("There are no shapes '" + shapes + "'; choose " + BITNET_2B + ".");
        }
        if (shapes != null && trace != null) {
            throw new IllegalArgumentException("--trace shows the operations of a run; give it with --run.");
        }
        try (Backend backend = device.open()) {
            return shapes == null ? profileRuns(backend) : profileShapes(backend);
        }
    }

    // ---------------------------------------------------------------------------------------------- runs

    private int profileRuns(Backend backend) throws IOException {
        List<RunFolder> folders = new ArrayList<>();
        for (Path run : new LinkedHashSet<>(runs)) {
            RunFolder folder = checkpoint.open(run);
            if (!folders.isEmpty() && !folder.tokenizer().equals(folders.get(0).tokenizer())) {
                throw new IllegalArgumentException(run + " was trained with another vocabulary than " + runs.get(0)
                        + "; profile runs of one corpus.");
            }
            folders.add(folder);
        }
        Corpora.Found corpus = Runs.corpusOf(folders.get(0).path(), data);
        int[] val =
                Runs.validation(folders.get(0), corpus).orElseThrow(() -> Runs.otherVocabulary(folders.get(0), corpus));
        List<RunProfiler.Profile> profiles = Profiles.of(backend, folders, val, seconds);
        if (trace != null) {
            AtomicFiles.write(trace, JSON.writeValueAsBytes(traceEvents(profiles)));
            log.info("Trace in {}", trace);
        }
        if (json) {
            System.out.println(JSON.writeValueAsString(json(backend, profiles)));
        } else {
            print(profiles, val.length - 1);
        }
        return 0;
    }

    private static void print(List<RunProfiler.Profile> profiles, int tokens) {
        RunProfiler.Profile first = profiles.get(0);
        Table models = new Table("run", "weights", "weight bytes", "peak bytes", "val loss", "difference", "agreement");
        for (RunProfiler.Profile profile : profiles) {
            models.add(
                    profile.subject().name(),
                    weights(profile),
                    String.format(
                            Locale.ROOT, "%,d", profile.subject().weights().bytes()),
                    String.format(Locale.ROOT, "%,d", profile.peakBytes()),
                    String.format(Locale.ROOT, "%.4f", profile.valLoss()),
                    String.format(Locale.ROOT, "%+.4f", profile.valLoss() - first.valLoss()),
                    String.format(Locale.ROOT, "%.1f%%", 100 * profile.agreement()));
        }
        System.out.print(models);
        System.out.printf(
                Locale.ROOT,
                "Loss in nats per character over %,d characters; agreement with the first run on the most likely next"
                        + " character; peak with batch 64.%n%n",
                tokens);

        Table speeds = new Table("phase", "batch", "run", "tokens/s", "P50 ms", "P90 ms", "times as fast as the first");
        for (int i = 0; i < first.speeds().size(); i++) {
            for (RunProfiler.Profile profile : profiles) {
                RunProfiler.Speed speed = profile.speeds().get(i);
                speeds.add(
                        Profiles.name(speed.phase()),
                        Integer.toString(speed.batch()),
                        profile.subject().name(),
                        String.format(Locale.ROOT, "%,.0f", speed.tokensPerSecond()),
                        String.format(Locale.ROOT, "%.3f", speed.p50()),
                        String.format(Locale.ROOT, "%.3f", speed.p90()),
                        String.format(Locale.ROOT, "%.2f", first.speeds().get(i).p50() / speed.p50()));
            }
        }
        System.out.println(speeds);

        Set<String> groups = new LinkedHashSet<>();
        profiles.forEach(profile -> groups.addAll(profile.groups().keySet()));
        List<String> header = new ArrayList<>(List.of("microseconds of a character, batch 1"));
        profiles.forEach(profile -> header.add(profile.subject().name()));
        Table operations = new Table(header.toArray(String[]::new));
        for (String group : groups) {
            List<String> row = new ArrayList<>(List.of(group));
            profiles.forEach(profile -> row.add(
                    profile.groups().containsKey(group)
                            ? String.format(
                                    Locale.ROOT, "%.2f", 1e6 * profile.groups().get(group))
                            : ""));
            operations.add(row.toArray(String[]::new));
        }
        System.out.print(operations);
    }

    private static String weights(RunProfiler.Profile profile) {
        return switch (profile.subject().weights().config().quant()) {
            case NONE -> "fp32";
            case BITNET -> "1 bit";
            case B158 -> "1.58 bits";
        };
    }

    private static ObjectNode json(Backend backend, List<RunProfiler.Profile> profiles) {
        ObjectNode root = JsonNodeFactory.instance.objectNode();
        root.put("device", backend.name() + ", " + backend.description());
        ArrayNode rows = root.putArray("runs");
        for (RunProfiler.Profile profile : profiles) {
            rows.add(Profiles.json(profile, profiles.get(0)));
        }
        return root;
    }

    /** In the trace event format: a process for each run, a thread for each phase, times in microseconds. */
    private static ObjectNode traceEvents(List<RunProfiler.Profile> profiles) {
        ObjectNode root = JsonNodeFactory.instance.objectNode().put("displayTimeUnit", "ns");
        ArrayNode events = root.putArray("traceEvents");
        for (int run = 0; run < profiles.size(); run++) {
            int process = run;
            event(events, "process_name", "M", process, 0)
                    .putObject("args")
                    .put("name", profiles.get(run).subject().name());
            profiles.get(run).trace().forEach((phase, spans) -> {
                event(events, "thread_name", "M", process, phase.ordinal())
                        .putObject("args")
                        .put("name", Profiles.name(phase));
                spans.forEach(span -> event(events, span.operation(), "X", process, phase.ordinal())
                        .put("ts", 1e6 * span.start())
                        .put("dur", 1e6 * span.seconds()));
            });
        }
        return root;
    }

    private static ObjectNode event(ArrayNode events, String name, String kind, int process, int thread) {
        return events.addObject()
                .put("name", name)
                .put("ph", kind)
                .put("pid", process)
                .put("tid", thread);
    }

    // ---------------------------------------------------------------------------------------------- shapes

    private int profileShapes(Backend backend) throws IOException {
        ShapeProfiler profiler = new ShapeProfiler(backend, seconds);
        Map<Bound, Double> peaks = profiler.measurePeaks();
        ObjectNode header = MeasuredRows.header(backend, device).put("shapes", shapes);
        ObjectNode perSecond = header.putObject("peaks_per_s");
        peaks.forEach((bound, peak) -> perSecond.put(name(bound), peak));
        MeasuredRows rows = new MeasuredRows(json, header);
        if (!json && !peaks.isEmpty()) {
            System.out.println(peaks.entrySet().stream()
                    .map(peak -> String.format(Locale.ROOT, "%s %,.1f G", name(peak.getKey()), 1e-9 * peak.getValue()))
                    .collect(Collectors.joining(", ", "Measured peaks, operations or bytes a second: ", "\n")));
        }
        for (ShapeProfiler.Size size : ShapeProfiler.BITNET_2B) {
            List<ShapeProfiler.Result> results = new ArrayList<>();
            try {
                profiler.run(size, ShapeProfiler.ROWS, result -> {
                    add(rows, result, peaks);
                    results.add(result);
                });
            } finally {
                if (!json) {
                    System.out.println(table(size, results, peaks));
                }
            }
        }
        return rows.exitCode();
    }

    private static String name(Bound bound) {
        return bound.name().toLowerCase(Locale.ROOT);
    }

    private static void add(MeasuredRows rows, ShapeProfiler.Result result, Map<Bound, Double> peaks) {
        ShapeProfiler.Size size = result.size();
        ObjectNode row = JsonNodeFactory.instance
                .objectNode()
                .put("out", size.out())
                .put("in", size.in())
                .put("rows", result.rows())
                .put("weights", result.product().name())
                .put("weight_bytes", result.product().weightBytes(size.out(), size.in()));
        if (result.failure() != null) {
            rows.addFailed(row, result.failure());
        } else {
            row.put("warm_us", 1e3 * result.warm().median())
                    .put("cold_us", 1e3 * result.cold().median())
                    .put("cold_us_p10", 1e3 * result.cold().p10())
                    .put("cold_us_p90", 1e3 * result.cold().p90());
            ofRead(result, peaks).ifPresent(share -> row.put("read_percent", share));
            ofPeak(result, peaks).ifPresent(share -> row.put("peak_percent", share));
            rows.add(row);
        }
    }

    private static OptionalDouble ofRead(ShapeProfiler.Result result, Map<Bound, Double> peaks) {
        return percent(result.bytesPerSecond(), peaks.get(Bound.READ));
    }

    private static OptionalDouble ofPeak(ShapeProfiler.Result result, Map<Bound, Double> peaks) {
        return percent(result.operationsPerSecond(), peaks.get(result.product().bound()));
    }

    private static OptionalDouble percent(double value, Double of) {
        return of == null ? OptionalDouble.empty() : OptionalDouble.of(1e2 * value / of);
    }

    /** The products of each number of rows side by side. */
    private static Table table(ShapeProfiler.Size size, List<ShapeProfiler.Result> results, Map<Bound, Double> peaks) {
        Table table = new Table(
                size.out() + " x " + size.in(),
                "weights",
                "warm us",
                "cold us",
                "GB/s",
                "% of read",
                "TFLOP/s",
                "% of peak",
                "times fp32 (cold)");
        Map<Integer, Double> fp32 = new HashMap<>();
        results.stream()
                .filter(result -> result.failure() == null)
                .sorted(Comparator.comparing(ShapeProfiler.Result::rows))
                .forEach(result -> {
                    int rows = result.rows();
                    double ms = result.cold().median();
                    if (result.product().name().equals("fp32")) {
                        fp32.put(rows, ms);
                    }
                    table.add(
                            rows + (rows == 1 ? " row" : " rows"),
                            result.product().name(),
                            String.format(
                                    Locale.ROOT, "%,.1f", 1e3 * result.warm().median()),
                            String.format(Locale.ROOT, "%,.1f", 1e3 * ms),
                            String.format(Locale.ROOT, "%,.0f", 1e-9 * result.bytesPerSecond()),
                            rounded(ofRead(result, peaks)),
                            String.format(Locale.ROOT, "%,.3f", 1e-12 * result.operationsPerSecond()),
                            rounded(ofPeak(result, peaks)),
                            fp32.containsKey(rows) ? String.format(Locale.ROOT, "%.2f", fp32.get(rows) / ms) : "");
                });
        return table;
    }

    private static String rounded(OptionalDouble percent) {
        return percent.isPresent() ? String.format(Locale.ROOT, "%.0f", percent.getAsDouble()) : "";
    }
}
