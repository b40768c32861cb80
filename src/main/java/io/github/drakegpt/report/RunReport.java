package io.github.drakegpt.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.TrainingState;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Stage;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.tracking.Metrics;
import io.github.drakegpt.tracking.MetricsFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * Content of a run folder, except its weights. A folder of packed weights is also a run: it has no metrics and no
 * state.
 *
 * @param name that tells the run from others
 * @param created when the folder was made
 * @param config the resolved settings
 * @param state of the newest checkpoint, if there is one
 * @param metrics by ascending steps
 * @param parameters number of trained values
 * @param weightBytes of the weights when nothing is trained, those of a quantized model packed
 * @param weightsOnly whether this is a folder of packed weights, without records of the training
 * @param machine names and values of the machine that trained it; empty if that was not recorded
 * @param profile the content of {@code profile.json}, if there is one
 */
public record RunReport(
        String name,
        Path folder,
        FileTime created,
        ObjectNode config,
        ModelConfig model,
        Optional<TrainingState> state,
        List<Metrics> metrics,
        long parameters,
        long weightBytes,
        boolean weightsOnly,
        Map<String, String> machine,
        Optional<JsonNode> profile) {
    /** The setting in which repetitions of a run differ. */
    public static final String SEED = "train.seed";

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final List<String> NO_MATTER = List.of("data.source", "device.fuse"); // to the result

    /** Reads one run; its name is the folder's. */
    public static RunReport read(Path path) throws IOException {
        RunFolder run = RunFolder.open(path);
        Path named = path.toAbsolutePath().normalize(); // "." has no name
        Map<String, String> machine = new LinkedHashMap<>();
        json(path.resolve(RunFolder.MACHINE))
                .ifPresent(facts -> facts.properties()
                        .forEach(fact ->
                                machine.put(fact.getKey(), fact.getValue().asText())));
        return new RunReport(
                String.valueOf(named.getFileName()),
                path,
                Files.getLastModifiedTime(path.resolve(RunFolder.VOCAB)), // which is written once
                run.config(),
                run.modelConfig(),
                run.hasCheckpoint() ? Optional.of(run.state()) : Optional.empty(),
                MetricsFile.read(path.resolve(RunFolder.METRICS)),
                LanguageModel.parametersOf(run.modelConfig()).count(),
                Weights.bytes(run.modelConfig()),
                !run.hasStarted() && Files.exists(path.resolve(RunFolder.MODEL)),
                machine,
                json(path.resolve(RunFolder.PROFILE)));
    }

    /**
     * Reads runs; the names of those whose folders have the same name include as many parent folders as tell them
     * apart.
     */
    public static List<RunReport> read(List<Path> paths) throws IOException {
        List<RunReport> runs = new ArrayList<>();
        for (Path path : paths) {
            runs.add(read(path));
        }
        return named(runs);
    }

    /** The same runs under names that differ, as far as their folders do. */
    public static List<RunReport> named(List<RunReport> runs) {
        List<Path> paths = runs.stream()
                .map(run -> run.folder().toAbsolutePath().normalize())
                .toList();
        List<RunReport> named = new ArrayList<>();
        for (int i = 0; i < runs.size(); i++) {
            Path path = paths.get(i);
            int length = 1;
            while (length < path.getNameCount() && isShared(tail(path, length), paths, path)) {
                length++;
            }
            named.add(runs.get(i).withName(tail(path, length)));
        }
        return List.copyOf(named);
    }

    private static boolean isShared(String name, List<Path> paths, Path self) {
        int length = Path.of(name).getNameCount();
        return paths.stream()
                .anyMatch(other -> !other.equals(self) && tail(other, length).equals(name));
    }

    /** The last names of a path. */
    private static String tail(Path path, int length) {
        int count = path.getNameCount();
        return count == 0
                ? path.toString()
                : path.subpath(Math.max(0, count - length), count).toString();
    }

    private RunReport withName(String other) {
        return new RunReport(
                other,
                folder,
                created,
                config,
                model,
                state,
                metrics,
                parameters,
                weightBytes,
                weightsOnly,
                machine,
                profile);
    }

    private static Optional<JsonNode> json(Path file) throws IOException {
        if (!Files.exists(file)) {
            return Optional.empty();
        }
        try {
            JsonNode read = JSON.readTree(Files.readAllBytes(file));
            if (!read.isObject()) {
                throw new IOException(file + " is damaged: it is no JSON object; remove it and run the report again.");
            }
            return Optional.of(read);
        } catch (JsonProcessingException e) {
            throw new IOException(file + " is damaged: it is not JSON; remove it and run the report again.", e);
        }
    }

    /** The model's stage of the journey. */
    public Stage stage() {
        return Stage.of(model);
    }

    /**
     * The settings that decide the result, except some: runs for which these are equal differ in the latter alone.
     *
     * @param keys full names, such as {@link #SEED}
     */
    public Map<String, String> settingsBut(String... keys) {
        Map<String, String> settings = RunFolder.settings(config);
        settings.keySet().removeAll(NO_MATTER);
        settings.keySet().removeAll(List.of(keys));
        return settings;
    }

    /** The seed of its random numbers; empty if its settings do not tell. */
    public Optional<String> seed() {
        return Optional.ofNullable(RunFolder.settings(config).get(SEED));
    }

    /**
     * Val loss at the newest evaluation: over the whole split if training has ended with it, else an estimate. Empty before
     * the first, and if it is no number.
     */
    public OptionalDouble valLoss() {
        Optional<Metrics> evaluated =
                metrics.stream().filter(Metrics::isEvaluation).reduce((before, after) -> after);
        double loss = state.filter(saved ->
                        evaluated.isEmpty() || saved.step() >= evaluated.get().step())
                .map(TrainingState::shownValLoss)
                .or(() -> evaluated.map(Metrics::shownValLoss))
                .orElse(Double.NaN);
        return Double.isFinite(loss) ? OptionalDouble.of(loss) : OptionalDouble.empty();
    }

    /** Whether training has come to its end: it was neither interrupted nor is it going on. */
    public boolean isFinished() {
        int recorded = metrics.isEmpty() ? 0 : metrics.get(metrics.size() - 1).step();
        return recorded >= iters()
                || state.filter(saved -> saved.isFinished() || saved.step() >= iters())
                        .isPresent();
    }

    /** Planned steps of the training. */
    public int iters() {
        return config.at("/train/iters").asInt();
    }

    /** Tokens that a step trains on. */
    public long tokensPerStep() {
        return config.at("/train/batch_size").asLong()
                * config.at("/train/grad_accum").asLong(1)
                * model.contextLength();
    }
}
