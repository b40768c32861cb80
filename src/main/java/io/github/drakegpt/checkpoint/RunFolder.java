package io.github.drakegpt.checkpoint;

import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.exc.UnrecognizedPropertyException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.data.AtomicFiles;
import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.data.Folder;
import io.github.drakegpt.data.Sha256;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.nn.Parameters;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The folder of one training run: {@code config.json}, {@code vocab.json}, and the newest checkpoint in
 * {@code model.safetensors}, {@code optimizer.safetensors} and {@code state.json}, with the weights of the lowest
 * validation loss in {@code best.safetensors}.
 *
 * <p>A checkpoint's files belong together, so they are replaced together: all are written as {@code NAME.next} and
 * synced, then {@code commit.json} lists them, then each is renamed, then {@code commit.json} is deleted. Whenever the
 * process is killed, either there is no {@code commit.json} and the old files are whole, or there is one and
 * {@link #recover} can finish the renames.
 */
public final class RunFolder {
    private static final Logger LOGGER = LoggerFactory.getLogger(RunFolder.class); // LOG is a file
    public static final String CONFIG = "config.json";
    public static final String VOCAB = "vocab.json";
    public static final String MODEL = "model.safetensors";
    public static final String BEST = "best.safetensors";
    public static final String OPTIMIZER = "optimizer.safetensors";
    public static final String STATE = "state.json";
    public static final String METRICS = "metrics.jsonl";
    public static final String LOG = "train.log";
    /** What the run is, for people: see {@code ModelCard}. */
    public static final String README = "README.md";
    /** The machine that trained the run last: names and values. */
    public static final String MACHINE = "machine.json";
    /** The last measurements of {@code profile} for the run. */
    public static final String PROFILE = "profile.json";

    /**
     * Name of an events file: the prefix that TensorBoard looks for, the second of its beginning, the host, and the
     * writer.
     */
    private static final String EVENTS = "events.out.tfevents.%010d.%s.drakegpt";

    private static final Pattern EVENTS_NAME = Pattern.compile("events\\.out\\.tfevents\\.\\d{10}\\..+\\.drakegpt");

    private static final String COMMIT = "commit.json";
    private static final String NEXT = ".next";
    /** Files of a checkpoint. */
    private static final Set<String> CHECKPOINT = Set.of(MODEL, BEST, OPTIMIZER, STATE);

    /** All files that are written under a temporary name first. */
    private static final Set<String> WRITTEN = Set.of(
            CONFIG,
            VOCAB,
            METRICS,
            README,
            MACHINE,
            PROFILE,
            COMMIT,
            MODEL + NEXT,
            BEST + NEXT,
            OPTIMIZER + NEXT,
            STATE + NEXT);

    private static final String FIRST_MOMENTS = "exp_avg.";
    private static final String SECOND_MOMENTS = "exp_avg_sq.";

    static final JsonMapper JSON =
            JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();

    private final Path path;
    private final ObjectNode config;
    private final ModelConfig modelConfig;
    private final CharTokenizer tokenizer;
    private final WeightsOf weightsOf;
    private Folder held; // while this process trains the run; null before

    /** Which of a run's weights to read. */
    public enum WeightsOf {
        /** The newest. */
        LAST(MODEL),
        /** Those with the lowest validation loss. */
        BEST(RunFolder.BEST);

        private final String file;

        WeightsOf(String file) {
            this.file = file;
        }
    }

    private RunFolder(Path path, ObjectNode config, ModelConfig modelConfig, CharTokenizer tokenizer) {
        this(path, config, modelConfig, tokenizer, WeightsOf.LAST);
    }

    private RunFolder(
            Path path, ObjectNode config, ModelConfig modelConfig, CharTokenizer tokenizer, WeightsOf weightsOf) {
        this.path = path;
        this.config = config;
        this.modelConfig = modelConfig;
        this.tokenizer = tokenizer;
        this.weightsOf = weightsOf;
    }

    /**
     * The same run with the weights of another checkpoint, for {@link #loadWeights} and {@link #loadTrainedWeights}.
     *
     * @throws IOException if the run has none
     */
    public RunFolder with(WeightsOf checkpoint) throws IOException {
        if (checkpoint == WeightsOf.BEST && !Files.exists(path.resolve(BEST))) {
            throw new IOException(path + " has no " + BEST
                    + ": it holds packed weights only, or was not evaluated yet; use its last weights, or the run that they"
                    + " were made from.");
        }
        return new RunFolder(path, config, modelConfig, tokenizer, checkpoint);
    }

    /** Which of the run's weights are read. */
    public WeightsOf weightsOf() {
        return weightsOf;
    }

    /**
     * Makes the folder of a new run.
     *
     * @param config the resolved configuration; its {@code model} part is a {@link ModelConfig}
     * @throws IllegalArgumentException if the folder already holds a run, or the model is missing or has another vocabulary
     * @throws IOException if another process begins one there, or a file cannot be written
     */
    public static RunFolder create(Path path, ObjectNode config, CharTokenizer tokenizer) throws IOException {
        try (Folder folder = Folder.make(path)) {
            return create(folder, config, tokenizer);
        }
    }

    /** Makes the folder of a new run like {@link #create}, and keeps it {@linkplain #lock locked}. */
    public static RunFolder createLocked(Path path, ObjectNode config, CharTokenizer tokenizer) throws IOException {
        Folder folder = Folder.make(path);
        try {
            RunFolder run = create(folder, config, tokenizer);
            run.held = folder;
            return run;
        } catch (IOException | RuntimeException | Error e) {
            folder.close();
            throw e;
        }
    }

    private static RunFolder create(Folder folder, ObjectNode config, CharTokenizer tokenizer) throws IOException {
        return write(folder, config, tokenizer, Map.of());
    }

    private static ModelConfig modelConfig(ObjectNode config, CharTokenizer tokenizer) throws IOException {
        if (!config.path("model").isObject()) {
            throw new IllegalArgumentException(
                    "The configuration has no model settings; give them under the key model.");
        }
        ModelConfig modelConfig = JSON.treeToValue(config.get("model"), ModelConfig.class);
        if (modelConfig.vocabSize() != tokenizer.size()) {
            throw new IllegalArgumentException("model.vocab_size is " + modelConfig.vocabSize()
                    + " and the vocabulary has " + tokenizer.size() + " characters; set it to that.");
        }
        return modelConfig;
    }

    /** Turns a folder into a run. */
    private static RunFolder write(
            Folder folder, ObjectNode config, CharTokenizer tokenizer, Map<String, AtomicFiles.Content> more)
            throws IOException {
        if (folder.exists(CONFIG)) {
            throw new IllegalArgumentException(folder.path() + " already holds a run; choose another folder.");
        }
        ModelConfig modelConfig = modelConfig(config, tokenizer);
        byte[] vocab = tokenizer.json();
        byte[] settings = JSON.writeValueAsBytes(config);
        Map<String, AtomicFiles.Content> files = new LinkedHashMap<>(more);
        files.put(VOCAB, out -> out.write(vocab));
        files.put(CONFIG, out -> out.write(settings)); // last: without the others it is no run
        AtomicFiles.writeAll(folder, files);
        return new RunFolder(folder.path(), config, modelConfig, tokenizer);
    }

    /**
     * Opens the folder of a run.
     *
     * @throws IOException if it is not one, or its configuration or vocabulary is damaged
     */
    public static RunFolder open(Path path) throws IOException {
        if (!Files.isDirectory(path)) {
            throw new IOException(path + " is not a folder; give the folder of a run.");
        }
        Path file = path.resolve(CONFIG);
        if (!Files.exists(file)) {
            throw new IOException(path + " is not the folder of a run (it has no " + CONFIG
                    + "); give the folder that `drakegpt train` wrote.");
        }
        try {
            if (!(JSON.readTree(file.toFile()) instanceof ObjectNode config)
                    || !config.path("model").isObject()) {
                throw new CorruptFileException(file, "it has no model settings", null);
            }
            ModelConfig modelConfig = JSON.treeToValue(config.get("model"), ModelConfig.class);
            CharTokenizer tokenizer = CharTokenizer.read(path.resolve(VOCAB));
            if (tokenizer.size() != modelConfig.vocabSize()) {
                throw new CorruptFileException(
                        path.resolve(VOCAB),
                        "it has " + tokenizer.size() + " characters where the model has " + modelConfig.vocabSize(),
                        null);
            }
            return new RunFolder(path, config, modelConfig, tokenizer);
        } catch (JsonProcessingException e) {
            throw new CorruptFileException(file, reason(e), e);
        }
    }

    public Path path() {
        return path;
    }

    /** The run's resolved configuration. */
    public ObjectNode config() {
        return config;
    }

    /** The settings in a config.json, by full names such as {@code train.iters}. */
    public static Map<String, String> settings(ObjectNode config) {
        Map<String, String> settings = new LinkedHashMap<>();
        addSettings("", config, settings);
        return settings;
    }

    private static void addSettings(String prefix, ObjectNode section, Map<String, String> settings) {
        section.properties().forEach(setting -> {
            String name = prefix + setting.getKey();
            JsonNode value = setting.getValue();
            if (value instanceof ObjectNode part) {
                addSettings(name + ".", part, settings);
            } else {
                settings.put(name, value.isValueNode() ? value.asText() : value.toString());
            }
        });
    }

    public ModelConfig modelConfig() {
        return modelConfig;
    }

    public CharTokenizer tokenizer() {
        return tokenizer;
    }

    /** Whether the run has reached its first checkpoint. */
    public boolean hasCheckpoint() {
        return Files.exists(path.resolve(STATE));
    }

    /** Whether there is a checkpoint, or one that {@link #recover} completes. */
    public boolean hasStarted() {
        return hasCheckpoint() || Files.exists(path.resolve(COMMIT));
    }

    /**
     * Keeps others from training this run, and holds its folder: what is written from now on goes there, even if it is
     * renamed.
     *
     * @return the lock, released when it is closed or the process ends
     * @throws IOException if another process is training the run, or removed it
     */
    public Folder lock() throws IOException {
        if (held != null && held.isLocked()) {
            return held; // since it was created
        }
        Folder folder = Folder.lock(path);
        if (!folder.exists(CONFIG)) {
            folder.close();
            throw new NoSuchFileException(path.resolve(CONFIG).toString());
        }
        held = folder;
        return folder;
    }

    private interface Work<T> {
        T in(Folder folder) throws IOException;
    }

    /** Works in the folder that is held, or else in the one of that name. */
    private <T> T in(Work<T> work) throws IOException {
        if (held != null && held.isLocked()) {
            return work.in(held);
        }
        try (Folder folder = Folder.open(path)) {
            return work.in(folder);
        }
    }

    /**
     * Opens a file of the run to add to its end; it is made if it is not there.
     *
     * @throws IOException if it cannot be written, or is a link; the message is a sentence
     */
    public FileChannel append(String name) throws IOException {
        try {
            return in(folder -> folder.channel(name, StandardOpenOption.CREATE, StandardOpenOption.APPEND));
        } catch (IOException e) {
            throw AtomicFiles.failed(path.resolve(name), e);
        }
    }

    /**
     * Writes a file of the run, or replaces it; it appears whole.
     *
     * @throws IOException if it cannot be written; the message is a sentence
     */
    public void write(String name, byte[] bytes) throws IOException {
        in(folder -> {
            AtomicFiles.writeAll(folder, Map.of(name, out -> out.write(bytes)));
            return null;
        });
    }

    /** TensorBoard's events: a file for each time that this run was trained, in this order. */
    public List<Path> eventFiles() throws IOException {
        return in(Folder::names).stream()
                .filter(name -> EVENTS_NAME.matcher(name).matches())
                .map(path::resolve)
                .toList();
    }

    /**
     * A name that sorts after those of {@link #eventFiles}, since TensorBoard reads them in the order of their names.
     *
     * @param seconds the time, since 1970; a second or more is added to it where there is a file as new as that
     * @param host the machine's name; characters that not every file system has in a name are replaced
     */
    public Path nextEventFile(long seconds, String host) throws IOException {
        long free = seconds;
        for (Path file : eventFiles()) {
            String newest = file.getFileName().toString().split("\\.")[3];
            free = Math.max(free, Long.parseLong(newest) + 1);
        }
        return path.resolve(String.format(Locale.ROOT, EVENTS, free, host.replaceAll("[^A-Za-z0-9.-]", "-")));
    }

    /** Removes a run that failed before its first checkpoint; files that are not a run's, and their folder, stay. */
    public void discard() throws IOException {
        Folder folder = lock(); // nobody else's
        try (folder) {
            for (String name : folder.names()) {
                if (EVENTS_NAME.matcher(name).matches()) {
                    folder.delete(name);
                }
            }
            for (String name : List.of(VOCAB, METRICS, MACHINE, LOG, CONFIG)) {
                folder.delete(name);
            }
            folder.removeIfEmpty();
        }
    }

    /**
     * Makes a folder of weights only, packed: {@code config.json}, {@code vocab.json}, and {@code model.safetensors} in the
     * format of {@link PackedWeightsFile}.
     *
     * @param config as in {@link #create}
     * @throws IllegalArgumentException if the folder already holds a run
     */
    public static RunFolder createPacked(Path path, ObjectNode config, CharTokenizer tokenizer, Weights weights)
            throws IOException {
        try (Folder folder = Folder.make(path)) {
            return write(folder, config, tokenizer, Map.of(MODEL, out -> PackedWeightsFile.write(out, weights)));
        }
    }

    /** Writes the machine that trains the run now: names and values. */
    public void writeMachine(Map<String, String> machine) throws IOException {
        write(MACHINE, JSON.writeValueAsBytes(machine));
    }

    /** Writes the last measurements of the run. */
    public void writeProfile(ObjectNode profile) throws IOException {
        write(PROFILE, JSON.writeValueAsBytes(profile));
    }

    /** Whether files can be put into this folder. */
    public boolean isWritable() {
        return Files.isWritable(path);
    }

    /** Bytes of the file of the newest weights. */
    public long weightsFileBytes() throws IOException {
        return Files.size(require(MODEL));
    }

    // ---------------------------------------------------------------------------------------------- checkpoints

    /**
     * Replaces the newest checkpoint, and the best weights too if this is the best.
     *
     * @throws IOException if it cannot be written; the checkpoint before it is still whole
     */
    public void save(Checkpoint checkpoint, Parameters parameters) throws IOException {
        TrainingState state = checkpoint.state();
        Map<String, String> metadata = Map.of("format", "pt");
        Map<String, AtomicFiles.Content> files = new LinkedHashMap<>();
        AtomicFiles.Content model = out -> StateDict.write(out, parameters, checkpoint.weights(), metadata);
        files.put(MODEL, model);
        if (state.bestStep() == state.step() && state.step() > 0) {
            files.put(BEST, model);
        }
        files.put(OPTIMIZER, out -> {
            List<Safetensors.Source> sources = new ArrayList<>();
            StateDict.addEntries(sources, parameters, FIRST_MOMENTS, checkpoint.firstMoments());
            StateDict.addEntries(sources, parameters, SECOND_MOMENTS, checkpoint.secondMoments());
            Safetensors.write(out, metadata, sources);
        });
        Map<String, String> sums = new TreeMap<>(sums()); // the best weights may stay as they are
        Map<String, AtomicFiles.Content> staged = new LinkedHashMap<>();
        files.forEach((name, content) -> staged.put(name + NEXT, out -> sums.put(name, Sha256.write(content, out))));
        staged.put(STATE + NEXT, out -> out.write(new StateFile(state, sums).json())); // last, when the sums are known
        List<String> names = new ArrayList<>(files.keySet());
        names.add(STATE);
        byte[] commit = JSON.writeValueAsBytes(names);
        in(folder -> {
            AtomicFiles.writeAll(folder, staged);
            AtomicFiles.writeAll(folder, Map.of(COMMIT, out -> out.write(commit)));
            return finish(folder, names);
        });
    }

    /**
     * Finishes or discards a checkpoint that a killed process left half done. Only for the process that trains the run,
     * under {@link #lock}.
     *
     * @throws CorruptFileException if the list of files to rename is damaged
     */
    public void recover() throws IOException {
        in(this::recover);
    }

    private Void recover(Folder folder) throws IOException {
        if (folder.exists(COMMIT)) {
            try {
                List<String> names = JSON.readValue(folder.read(COMMIT), new TypeReference<>() {});
                if (names == null || !names.stream().allMatch(RunFolder::isOfCheckpoint)) {
                    throw new CorruptFileException(path.resolve(COMMIT), "it is no list of a checkpoint's files", null);
                }
                finish(folder, names);
            } catch (JsonProcessingException e) {
                throw new CorruptFileException(path.resolve(COMMIT), reason(e), e);
            }
        }
        for (String name : CHECKPOINT) {
            folder.delete(name + NEXT);
        }
        for (String name : folder.names()) {
            if (AtomicFiles.isLeftover(name, WRITTEN)) {
                folder.delete(name);
            }
        }
        return null;
    }

    private static boolean isOfCheckpoint(String name) {
        return name != null && CHECKPOINT.contains(name);
    }

    private static Void finish(Folder folder, List<String> names) throws IOException {
        for (String name : names) {
            if (folder.exists(name + NEXT)) {
                folder.rename(name + NEXT, name);
            }
        }
        folder.sync();
        folder.delete(COMMIT);
        return null;
    }

    /**
     * Reads the newest checkpoint.
     *
     * @throws IOException if there is none, or one of its files is missing or damaged
     */
    public Checkpoint load(Parameters parameters) throws IOException {
        Safetensors optimizer = Safetensors.read(require(OPTIMIZER));
        return new Checkpoint(
                trained(Safetensors.read(require(MODEL)), parameters),
                StateDict.read(optimizer, parameters, FIRST_MOMENTS),
                StateDict.read(optimizer, parameters, SECOND_MOMENTS),
                state());
    }

    /** Reads only the weights, in the form that Generator and Scorer take: a trained run's, or packed ones. */
    public Weights loadWeights() throws IOException {
        Safetensors file = readWeights();
        return PackedWeightsFile.is(file)
                ? PackedWeightsFile.read(file, modelConfig)
                : Weights.of(modelConfig, StateDict.read(file, LanguageModel.parametersOf(modelConfig), ""));
    }

    /**
     * Reads only the weights as they were trained: a flat buffer, laid out as {@link LanguageModel#parametersOf}.
     *
     * @throws IllegalArgumentException if this folder holds packed weights, which cannot be trained
     */
    public float[] loadTrainedWeights() throws IOException {
        return trained(readWeights(), LanguageModel.parametersOf(modelConfig));
    }

    private float[] trained(Safetensors file, Parameters parameters) throws IOException {
        requireTrained(file);
        return StateDict.read(file, parameters, "");
    }

    private void requireTrained(Safetensors file) {
        if (PackedWeightsFile.is(file)) {
            throw new IllegalArgumentException(
                    path + " holds packed weights, which cannot be trained; give the run that they were made from.");
        }
    }

    /**
     * Refuses a folder in which training cannot continue.
     *
     * @throws IllegalArgumentException if it holds packed weights
     */
    public void requireTrainable() throws IOException {
        if (Files.exists(path.resolve(MODEL))) {
            requireTrained(Safetensors.read(path.resolve(MODEL)));
        }
    }

    /** Reads the state of the training. */
    public TrainingState state() throws IOException {
        return StateFile.read(require(STATE)).state();
    }

    /**
     * Compares the files of the newest checkpoint with the sums that it was saved with. Those of older versions have none.
     *
     * @throws ChangedFileException if one has changed since; the message names it
     */
    public void verify() throws IOException {
        StateFile saved = StateFile.read(require(STATE));
        for (String name : CHECKPOINT) {
            Path file = path.resolve(name);
            String sum = saved.sums().get(name);
            if (sum != null && Files.exists(file)) {
                String now = name.equals(STATE) ? saved.ownSum() : Sha256.of(file);
                if (!now.equals(sum)) {
                    throw new ChangedFileException(changed(file));
                }
            }
        }
    }

    /** Reads weights, with a warning if they are not those that were saved: people may have edited them. */
    private Safetensors readWeights() throws IOException {
        Path file = require(weightsOf.file);
        Map<String, String> before = sums();
        Safetensors weights = Safetensors.read(file);
        String sum = before.get(weightsOf.file);
        boolean differs = sum != null && !sum.equals(weights.sha256());
        // unless a training replaces the checkpoint at this moment
        if (differs && !Files.exists(path.resolve(COMMIT)) && before.equals(sums())) {
            LOGGER.warn("{}.", changed(file));
        }
        return weights;
    }

    private static String changed(Path file) {
        return file + " has changed since it was saved: its SHA-256 sum is not the one in " + STATE;
    }

    /** Sums of the newest checkpoint's files; none if there is no checkpoint, or its state cannot be read. */
    private Map<String, String> sums() throws IOException {
        try {
            return StateFile.read(path.resolve(STATE)).sums();
        } catch (NoSuchFileException e) {
            return Map.of();
        } catch (CorruptFileException e) {
            LOGGER.warn("No file is compared with its SHA-256 sum: {}", e.getMessage());
            return Map.of();
        }
    }

    private Path require(String name) throws IOException {
        Path file = path.resolve(name);
        if (!Files.exists(file)) {
            throw new IOException(path + " has no " + name
                    + ": the run did not come to its first checkpoint, or the file was removed; train it again.");
        }
        return file;
    }

    /** The error in a JSON file, in words that name no class. */
    static String reason(JsonProcessingException e) {
        if (e instanceof UnrecognizedPropertyException unknown) {
            return "it has the unknown key " + unknown.getPropertyName();
        }
        if (e.getCause() instanceof IllegalArgumentException refused) {
            return refused.getMessage().replaceFirst("\\.$", "");
        }
        if (e instanceof JsonMappingException wrong && !wrong.getPath().isEmpty()) {
            String key = wrong.getPath().stream()
                    .map(part -> part.getFieldName() == null ? "[" + part.getIndex() + "]" : part.getFieldName())
                    .collect(Collectors.joining("."));
            return "the value of " + key + " is not one that it can have";
        }
        JsonLocation place = e.getLocation();
        return place == null
                ? "it is not valid JSON"
                : "it is not valid JSON (line " + place.getLineNr() + ", column " + place.getColumnNr() + ")";
    }
}
