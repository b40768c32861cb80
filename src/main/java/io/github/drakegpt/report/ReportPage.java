package io.github.drakegpt.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.TrainingState;
import io.github.drakegpt.data.AtomicFiles;
import io.github.drakegpt.tracking.Metrics;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.math.MathContext;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Base64;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import java.util.stream.Collectors;

/**
 * The report: one HTML file that needs no other and no network. Runs are data in it, as JSON; its scripts make charts
 * and tables of them. The page may run only its own scripts and styles, which its content security policy lists
 * by hash, so that no text of a run can become code.
 */
public final class ReportPage {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final MathContext DIGITS =
            new MathContext(8); // far more digits than are shown, so that rounding twice does no harm

    private static final List<String> SCRIPTS = List.of("elements.js", "runs.js", "axes.js", "charts.js", "page.js");

    private ReportPage() {}

    /** Writes the report of some runs. */
    public static void write(Path file, List<RunReport> runs) throws IOException {
        AtomicFiles.write(file, page(data(runs), "'none'"));
    }

    /** The page that gets its runs from server-sent events, at the address {@code events} beside its own. */
    public static byte[] live() {
        return page("{\"live\":true}", "'self'");
    }

    /**
     * Runs as the page takes them: a JSON object in one line, which can stand within a script element of HTML. Numbers have
     * eight digits; those that are not finite are null.
     */
    public static String data(List<RunReport> runs) {
        ObjectNode root = JsonNodeFactory.instance.objectNode();
        root.set("palette", palette());
        ArrayNode all = root.putArray("runs");
        runs.forEach(run -> all.add(run(run)));
        compare(runs, root);
        try {
            return JSON.writeValueAsString(root)
                    .replace("<", "\\u003c") // outside of strings JSON has none of these
                    .replace(">", "\\u003e")
                    .replace("&", "\\u0026")
                    .replace("\u2028", "\\u2028")
                    .replace("\u2029", "\\u2029");
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("numbers and text can be written", e);
        }
    }

    // ---------------------------------------------------------------------------------------------- data

    private static ObjectNode palette() {
        ObjectNode palette = JsonNodeFactory.instance.objectNode();
        ArrayNode light = palette.putArray("light");
        ArrayNode dark = palette.putArray("dark");
        for (Palette.Colour colour : Palette.COLOURS) {
            light.add(colour.light());
            dark.add(colour.dark());
        }
        palette.set(
                "marks",
                JSON.valueToTree(Arrays.stream(Palette.Mark.values())
                        .map(Palette.Mark::label)
                        .toList()));
        palette.set("trainDash", JSON.valueToTree(Palette.TRAIN_DASH));
        return palette;
    }

    private static ObjectNode run(RunReport run) {
        ObjectNode node = JsonNodeFactory.instance
                .objectNode()
                .put("name", run.name())
                .put("model", run.stage().name())
                .put("adds", run.stage().adds())
                .put("quant", run.model().quant().label())
                .put("parameters", run.parameters())
                .put("weightBytes", run.weightBytes())
                .put("weightsOnly", run.weightsOnly())
                .put("iters", run.iters())
                .put("tokensPerStep", run.tokensPerStep());
        run.state().ifPresent(state -> node.set("state", state(state)));

        List<Metrics> steps = run.metrics();
        ObjectNode each = node.putObject("steps");
        column(each, "step", steps, Metrics::step);
        column(each, "loss", steps, Metrics::loss);
        column(each, "gradNorm", steps, Metrics::gradNorm);
        column(each, "learningRate", steps, Metrics::learningRate);
        column(each, "tokensPerSecond", steps, Metrics::tokensPerSecond);
        column(each, "seconds", steps, Metrics::elapsedSeconds);

        List<Metrics> evaluated = steps.stream().filter(Metrics::isEvaluation).toList();
        ObjectNode evaluations = node.putObject("evaluations");
        column(evaluations, "step", evaluated, Metrics::step);
        column(evaluations, "trainLoss", evaluated, Metrics::trainLoss);
        column(evaluations, "valLoss", evaluated, Metrics::shownValLoss);
        column(evaluations, "peakMemory", evaluated, Metrics::peakMemoryBytes);
        ArrayNode samples = evaluations.putArray("sample");
        evaluated.forEach(metrics -> samples.add(metrics.sample()));

        ObjectNode settings = node.putObject("settings");
        RunFolder.settings(run.config()).forEach(settings::put);
        ObjectNode machine = node.putObject("machine");
        run.machine().forEach(machine::put);
        run.profile().ifPresent(profile -> node.set("profile", profile(profile)));
        return node;
    }

    /** Adds what runs are beside each other; they and their groups are referred to by number. */
    private static void compare(List<RunReport> runs, ObjectNode root) {
        List<SeedGroup> groups = SeedGroup.of(runs);
        Map<RunReport, Integer> places = places(runs);
        ArrayNode grouped = root.putArray("groups");
        List<Integer> slots = Palette.slots(groups);
        for (int i = 0; i < groups.size(); i++) {
            ArrayNode members = grouped.addObject()
                    .put("name", groups.get(i).name())
                    .put("slot", slots.get(i))
                    .putArray("runs");
            groups.get(i).runs().forEach(run -> members.add(places.get(run)));
        }
        Map<SeedGroup, Integer> groupPlaces = places(groups);
        ArrayNode progressions = root.putArray("progressions");
        Progression.of(groups).forEach(progression -> progressions.add(progression(progression, groupPlaces)));
        ArrayNode costs = root.putArray("quantizationCosts");
        for (QuantizationCost cost : QuantizationCost.of(groups)) {
            costs.addObject()
                    .put("quantized", groupPlaces.get(cost.quantized()))
                    .put("full", groupPlaces.get(cost.full()))
                    .put("sentence", cost.sentence());
        }
    }

    private static <T> Map<T, Integer> places(List<T> list) {
        Map<T, Integer> places = new IdentityHashMap<>();
        for (int i = 0; i < list.size(); i++) {
            places.put(list.get(i), i);
        }
        return places;
    }

    private static ObjectNode progression(Progression progression, Map<SeedGroup, Integer> places) {
        ObjectNode node = JsonNodeFactory.instance.objectNode().put("sentence", progression.sentence());
        node.set("largestChange", number(progression.largestChange()));
        ArrayNode steps = node.putArray("steps");
        for (Progression.Step step : progression.steps()) {
            ObjectNode each =
                    steps.addObject().put("group", places.get(step.group())).put("adds", step.adds());
            each.set("valLoss", number(step.valLoss()));
            each.set("change", number(step.change().orElse(null)));
        }
        return node;
    }

    /** The fields that the page shows; the file may hold others. */
    private static ObjectNode profile(JsonNode kept) {
        ObjectNode node = JsonNodeFactory.instance
                .objectNode()
                .put("device", kept.path("device").asText());
        node.set("val_loss", number(kept.path("val_loss").numberValue()));
        ArrayNode speeds = node.putArray("speed");
        for (JsonNode speed : kept.path("speed")) {
            speeds.addObject()
                    .put("phase", speed.path("phase").asText())
                    .put("batch", speed.path("batch").asInt())
                    .set("tokens_per_s", number(speed.path("tokens_per_s").numberValue()));
        }
        return node;
    }

    private static ObjectNode state(TrainingState state) {
        ObjectNode node = JsonNodeFactory.instance.objectNode().put("step", state.step());
        node.set("trainLoss", number(state.trainLoss()));
        node.set("valLoss", number(state.shownValLoss()));
        node.set("bestValLoss", number(state.shownBestValLoss()));
        node.set("trainSeconds", number(state.trainSeconds()));
        node.set("seconds", number(state.elapsedSeconds()));
        return node;
    }

    /** Columns that no line has are left out. */
    private static void column(ObjectNode to, String name, List<Metrics> lines, Function<Metrics, Number> value) {
        if (lines.stream().map(value).anyMatch(Objects::nonNull)) {
            ArrayNode column = to.putArray(name);
            lines.forEach(line -> column.add(number(value.apply(line))));
        }
    }

    private static JsonNode number(Number value) {
        if (value == null || !Double.isFinite(value.doubleValue())) {
            return JsonNodeFactory.instance.nullNode();
        }
        if (value instanceof Double real) {
            double rounded = new BigDecimal(real).round(DIGITS).doubleValue();
            return rounded == (long) rounded
                    ? JsonNodeFactory.instance.numberNode((long) rounded)
                    : JsonNodeFactory.instance.numberNode(rounded);
        }
        return JsonNodeFactory.instance.numberNode(value.longValue());
    }

    // ---------------------------------------------------------------------------------------------- page

    private static byte[] page(String data, String connect) {
        String style = resource("uPlot.min.css") + "\n" + resource("page.css");
        String charts = resource("uPlot.iife.min.js");
        String script = SCRIPTS.stream().map(ReportPage::resource).collect(Collectors.joining("\n"));
        String policy = "default-src 'none'; script-src " + hash(charts) + " " + hash(script) + "; style-src "
                + hash(style) + "; img-src data:; connect-src " + connect + "; base-uri 'none'; form-action 'none'";
        // in the order of the page: filled-in text is not searched again
        StringBuilder page = new StringBuilder();
        String rest = resource("page.html");
        for (String[] part : new String[][] {
            {"policy", policy},
            {"style", style},
            {"licence", resource("uPlot.LICENSE")},
            {"data", data},
            {"charts", charts},
            {"script", script}
        }) {
            String place = "{{" + part[0] + "}}";
            int at = rest.indexOf(place);
            page.append(rest, 0, at).append(part[1]);
            rest = rest.substring(at + place.length());
        }
        return page.append(rest).toString().getBytes(StandardCharsets.UTF_8);
    }

    private static String resource(String name) {
        try (InputStream in = ReportPage.class.getResourceAsStream(name)) {
            // a browser hashes lines that end with \n, so convert other line ends
            return new String(in.readAllBytes(), StandardCharsets.UTF_8).replace("\r\n", "\n");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static String hash(String text) {
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
            return "'sha256-" + Base64.getEncoder().encodeToString(digest) + "'";
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }
}
