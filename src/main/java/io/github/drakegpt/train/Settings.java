package io.github.drakegpt.train;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.exc.InvalidFormatException;
import com.fasterxml.jackson.databind.exc.MismatchedInputException;
import com.fasterxml.jackson.databind.exc.UnrecognizedPropertyException;
import com.fasterxml.jackson.databind.node.BooleanNode;
import com.fasterxml.jackson.databind.node.IntNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import io.github.drakegpt.data.Corpus;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.quant.Quantization;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * The settings of a run, in layers: the built-in {@code default}, a named one or a YAML file, then single
 * {@code key=value} settings. The default names every key that there is; another key is an error, and so is a value of
 * another type. {@code finalNorm} and {@code final_norm} are the same key.
 */
public final class Settings {
    /** Names of the built-in configurations. */
    public static final List<String> BUILT_IN = List.of("default", "laptop", "scaled");

    /** As in Hugging Face's fine-tuning to 1.58 bits ("Fine-tuning LLMs to 1.58bit", 2024). */
    private static final int QUANT_WARMUP_ITERS = 1000;

    private static final ObjectMapper YAML = YAMLMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .build();
    /** A whole number with zeros before it, which YAML reads as an octal one. */
    private static final Pattern OCTAL = Pattern.compile("[-+]?0[0-9_]+");

    private static final ObjectMapper JSON = new ObjectMapper();

    private static final String DEFAULT = "default";
    /** Characters of a value that a message shows. */
    private static final int MOST_SHOWN = 60;

    private final ObjectNode root = readBuiltIn(DEFAULT);
    private final Map<String, String> sources = new HashMap<>();

    /** Lays a built-in configuration, or a YAML file, over the settings so far. */
    public Settings overlay(String nameOrFile) throws IOException {
        if (BUILT_IN.contains(nameOrFile)) {
            return overlayBuiltIn(nameOrFile);
        }
        Path file = Path.of(nameOrFile);
        if (!Files.exists(file)) {
            throw new IllegalArgumentException("There is no configuration '" + nameOrFile
                    + "'; give a YAML file or one of " + String.join(", ", BUILT_IN) + ".");
        }
        String text;
        try {
            text = Files.readString(file);
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException(file + " is not UTF-8 text; convert it to UTF-8.", e);
        }
        JsonNode overlay = readYaml(text, file.toString());
        if (!(overlay instanceof ObjectNode object)) {
            throw new IllegalArgumentException(
                    file + " holds no settings; write lines such as `train: {iters: 2000}`.");
        }
        merge(root, object, "", file.toString());
        return this;
    }

    /**
     * Lays a built-in configuration over the settings so far.
     *
     * @throws IllegalArgumentException if there is none of that name
     */
    public Settings overlayBuiltIn(String name) {
        if (!BUILT_IN.contains(name)) {
            throw new IllegalArgumentException(
                    "There are no settings '" + name + "'; choose one of " + String.join(", ", BUILT_IN) + ".");
        }
        merge(root, readBuiltIn(name), "", name);
        return this;
    }

    /**
     * Lays over the settings that were found best for training a quantized model.
     *
     * @param quantization may be none, to train in full precision what quantized models are compared with
     * @param builtIn the configuration whose sizes it has
     * @param source what asks for it
     */
    public Settings quantize(Quantization quantization, String builtIn, String source) {
        merge(root, readBuiltIn("quant-" + builtIn), "", source);
        return set("model.quant", TextNode.valueOf(quantization.label()), source);
    }

    /**
     * Gives the model the sizes of another, so that it takes that one's weights.
     *
     * @param source what asks for it
     */
    public Settings resize(ModelConfig other, String source) {
        set("model.context_length", IntNode.valueOf(other.contextLength()), source);
        set("model.embedding_dim", IntNode.valueOf(other.embeddingDim()), source);
        set("model.head_size", IntNode.valueOf(other.headSize()), source);
        set("model.num_heads", IntNode.valueOf(other.numHeads()), source);
        set("model.num_layers", IntNode.valueOf(other.numLayers()), source);
        return set("model.final_norm", BooleanNode.valueOf(other.finalNorm()), source);
    }

    /**
     * Raises the rounding to full strength over the first steps, at most half of all.
     *
     * @param source what asks for it
     */
    public Settings warmUpQuantization(String source) {
        int iters = root.at("/train/iters").asInt();
        return set("train.quant_warmup_iters", IntNode.valueOf(Math.min(QUANT_WARMUP_ITERS, iters / 2)), source);
    }

    /**
     * Sets one key, such as {@code train.iters}, to a value.
     *
     * @param source what sets it
     */
    public Settings set(String key, JsonNode value, String source) {
        ObjectNode overlay = JsonNodeFactory.instance.objectNode();
        ObjectNode node = overlay;
        String[] parts = key.split("\\.", -1);
        for (int i = 0; i < parts.length - 1; i++) {
            node = node.putObject(parts[i]);
        }
        node.set(parts[parts.length - 1], value);
        merge(root, overlay, "", source);
        return this;
    }

    /**
     * Sets {@code key=value}, the value in YAML.
     *
     * @param source what sets it
     */
    public Settings assign(String assignment, String source) {
        int equals = assignment.indexOf('=');
        if (equals < 1) {
            throw new IllegalArgumentException(source + " " + assignment + " has no value; write " + source
                    + " key=value, such as " + source + " train.iters=2000.");
        }
        String value = assignment.substring(equals + 1).strip();
        return set(
                assignment.substring(0, equals).strip(), readYaml(value, source + " " + shortened(assignment)), source);
    }

    /**
     * Values with commas between them, each in YAML.
     *
     * @param source names them in messages
     */
    public static List<JsonNode> values(String text, String source) {
        List<JsonNode> values = new ArrayList<>();
        readYaml("[" + text + "]", source).forEach(values::add);
        return values;
    }

    /** @param source names it in messages */
    private static JsonNode readYaml(String text, String source) {
        try {
            refuseOctalNumbers(text, source);
            return YAML.readTree(text);
        } catch (JsonProcessingException e) {
            long line = e.getLocation() == null ? 1 : e.getLocation().getLineNr();
            String reason = e.getOriginalMessage().startsWith("Duplicate field")
                    ? "sets a key that is set above it already"
                    : e instanceof MismatchedInputException ? "has a second document" : "cannot be read as YAML";
            throw invalid(source, line, reason, e);
        }
    }

    private static void refuseOctalNumbers(String text, String source) throws JsonProcessingException {
        try (JsonParser tokens = YAML.createParser(text)) {
            for (JsonToken token = tokens.nextToken(); token != null; token = tokens.nextToken()) {
                if (token == JsonToken.VALUE_NUMBER_INT
                        && OCTAL.matcher(tokens.getText()).matches()) {
                    throw invalid(
                            source,
                            tokens.currentTokenLocation().getLineNr(),
                            "has the number " + tokens.getText() + ", which YAML reads as an octal one",
                            null);
                }
            }
        } catch (JsonProcessingException e) {
            throw e;
        } catch (IOException e) { // a text in memory has no other errors
            throw new UncheckedIOException(e);
        }
    }

    private static IllegalArgumentException invalid(String source, long line, String reason, Exception cause) {
        return new IllegalArgumentException(
                source + " " + reason + " (line " + line + "); mend it and run again.", cause);
    }

    private static String shortened(String text) {
        return text.length() <= MOST_SHOWN ? text : text.substring(0, MOST_SHOWN) + "...";
    }

    /** The model settings for a vocabulary. */
    public ModelConfig model(int vocabSize) {
        ObjectNode model = root.get("model").deepCopy();
        model.put("vocab_size", vocabSize);
        return convert(model, ModelConfig.class, "model");
    }

    /** The source of a key's value, such as {@code train.iters}: a configuration's name, a file or what has set it. */
    public String source(String key) {
        return sources.getOrDefault(SettingNames.plain(key), DEFAULT);
    }

    /** The training settings. */
    public TrainConfig train() {
        return convert(root.get("train"), TrainConfig.class, "train");
    }

    /** The device's settings. */
    public DeviceSettings device() {
        return convert(root.get("device"), DeviceSettings.class, "device");
    }

    /**
     * The config.json of a run on a corpus that is not here.
     *
     * @return sections {@code model}, {@code train} and {@code device}
     */
    public ObjectNode config(int vocabSize) {
        ObjectNode config = JsonNodeFactory.instance.objectNode();
        config.set("model", JSON.valueToTree(model(vocabSize)));
        config.set("train", JSON.valueToTree(train()));
        config.set("device", JSON.valueToTree(device()));
        return config;
    }

    /**
     * The config.json of a run on a corpus.
     *
     * @return the same, and the section {@code data}
     */
    public ObjectNode config(Corpus corpus) throws IOException {
        ObjectNode config = config(corpus.tokenizer().size());
        config.putObject("data")
                .put("source", corpus.name())
                .put("train_tokens", corpus.train().length)
                .put("val_tokens", corpus.val().length)
                .put("sha256", corpus.sha256());
        return config;
    }

    /** Reads those of a run's config.json, which older runs do not have. */
    public static DeviceSettings deviceSettings(ObjectNode config) {
        return config.has("device")
                ? convert(config.get("device"), DeviceSettings.class, "device")
                : DeviceSettings.DEFAULT;
    }

    /** Reads the training settings of a run's config.json, with another number of iterations if that is not null. */
    public static TrainConfig trainConfig(ObjectNode config, Integer iters) {
        if (!(config.get("train") instanceof ObjectNode train)) {
            throw new IllegalArgumentException("The run's config.json has no train settings; it cannot be resumed.");
        }
        ObjectNode changed = train.deepCopy();
        if (iters != null) {
            changed.put("iters", iters);
        }
        return convert(changed, TrainConfig.class, "train");
    }

    /** The setting that has this name without its group, or that another program calls so. */
    public static Optional<String> keyOf(String name) {
        return SettingNames.keyOf(name, allKeys(readBuiltIn("default"), ""));
    }

    private static <T> T convert(JsonNode node, Class<T> type, String section) {
        try {
            return JSON.treeToValue(node, type);
        } catch (InvalidFormatException e) {
            throw new IllegalArgumentException(
                    section + key(e) + " is '" + shortened(String.valueOf(e.getValue())) + "'; set it to "
                            + choices(e.getTargetType()) + ".",
                    e);
        } catch (UnrecognizedPropertyException e) {
            throw new IllegalArgumentException(
                    "There is no setting " + section + "." + e.getPropertyName() + "; remove it.", e);
        } catch (JsonProcessingException e) {
            // a setting that the record's constructor refused, in its own sentence
            if (e.getCause() instanceof IllegalArgumentException refused) {
                throw refused;
            }
            throw new IllegalArgumentException(
                    section + key(e) + " has a value that it cannot have; compare it with default.yaml.", e);
        }
    }

    /** The key whose value was refused, after a dot; empty where none is to blame. */
    private static String key(JsonProcessingException e) {
        return e instanceof JsonMappingException wrong && !wrong.getPath().isEmpty()
                ? "." + wrong.getPath().get(0).getFieldName()
                : "";
    }

    private static String choices(Class<?> type) {
        if (!type.isEnum()) {
            return "a value of type " + type.getSimpleName();
        }
        return "one of "
                + String.join(
                        ", ",
                        Arrays.stream(type.getEnumConstants())
                                .map(constant -> constant.toString().toLowerCase(Locale.ROOT))
                                .toList());
    }

    private static ObjectNode readBuiltIn(String name) {
        try (InputStream in = Settings.class.getResourceAsStream("/config/" + name + ".yaml")) {
            return (ObjectNode) YAML.readTree(in);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void merge(ObjectNode target, ObjectNode overlay, String prefix, String source) {
        for (Map.Entry<String, JsonNode> field : overlay.properties()) {
            String key = find(target, field.getKey());
            String path = prefix + field.getKey();
            if (key == null) {
                throw new IllegalArgumentException("There is no setting " + path + " (" + source + "); did you mean "
                        + SettingNames.nearest(path, allKeys(root, "")) + "?");
            }
            JsonNode known = target.get(key);
            JsonNode value = field.getValue();
            if (known instanceof ObjectNode section) {
                if (!(value instanceof ObjectNode part)) {
                    throw new IllegalArgumentException(path + " is a group of settings; set one of them, such as "
                            + allKeys(section, path + ".").get(0) + ".");
                }
                merge(section, part, path + ".", source);
            } else {
                requireSameType(path, known, value);
                target.set(key, value);
                sources.put(SettingNames.plain(path), source);
            }
        }
    }

    private static void requireSameType(String path, JsonNode known, JsonNode value) {
        String wanted;
        boolean fits;
        if (known.isIntegralNumber()) {
            boolean seed = path.endsWith("seed");
            wanted = "a whole number of at most " + (seed ? Long.MAX_VALUE : Integer.MAX_VALUE);
            fits = value.isIntegralNumber() && (seed ? value.canConvertToLong() : value.canConvertToInt());
        } else if (known.isNumber()) {
            wanted = "a number";
            fits = value.isNumber();
        } else if (known.isBoolean()) {
            wanted = "true or false";
            fits = value.isBoolean();
        } else if (known.isArray()) {
            wanted = "a list of numbers, such as " + known;
            fits = value.isArray();
            for (JsonNode element : value) {
                fits &= element.isNumber();
            }
        } else {
            wanted = "a name, such as " + known.asText();
            fits = value.isTextual();
        }
        if (!fits) {
            throw new IllegalArgumentException(path + " is "
                    + (value.isMissingNode() ? "empty" : shortened(value.toString())) + "; set it to " + wanted + ".");
        }
    }

    private static String find(ObjectNode node, String key) {
        for (Map.Entry<String, JsonNode> field : node.properties()) {
            if (SettingNames.plain(field.getKey()).equals(SettingNames.plain(key))) {
                return field.getKey();
            }
        }
        return null;
    }

    private static List<String> allKeys(ObjectNode node, String prefix) {
        List<String> keys = new ArrayList<>();
        for (Map.Entry<String, JsonNode> field : node.properties()) {
            if (field.getValue() instanceof ObjectNode section) {
                keys.addAll(allKeys(section, prefix + field.getKey() + "."));
            } else {
                keys.add(prefix + field.getKey());
            }
        }
        return keys;
    }
}
