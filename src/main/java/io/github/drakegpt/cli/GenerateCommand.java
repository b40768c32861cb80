package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.AtomicFiles;
import io.github.drakegpt.data.TextSource;
import io.github.drakegpt.model.Stage;
import io.github.drakegpt.ops.Sampling;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.concurrent.ThreadLocalRandom;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code generate}: text from a trained model. */
@Command(
        name = "generate",
        mixinStandardHelpOptions = true,
        description = "Streams text from a trained model to stdout and saves it under inference/.",
        footer = {
            "",
            "Examples:",
            "  ${COMMAND-FULL-NAME} --prompt \"Tonight \" --length 500",
            "  ${COMMAND-FULL-NAME} --run runs/journey/BlocksLM --temperature 1 --top-k 0 --num-samples 3 --seed 7",
            "  ${COMMAND-FULL-NAME} --run runs/A --run runs/B --prompt-file verse.txt --stop \"\\n\\n\"",
            "  ${COMMAND-FULL-NAME} --interactive"
        })
final class GenerateCommand implements Callable<Integer> {
    private static final Logger log = LoggerFactory.getLogger(GenerateCommand.class);
    private static final Path FOLDER = Path.of("inference");

    @Mixin
    private RunOptions runs;

    @ArgGroup
    private Prompt prompt = new Prompt();

    /** Where the text to continue comes from. */
    private static final class Prompt {
        @Option(
                names = "--prompt",
                paramLabel = "TEXT",
                description = "Text to continue; - reads it from standard input (default: the start of a line).")
        private String text = "";

        @Option(names = "--prompt-file", paramLabel = "FILE", description = "File with the text to continue.")
        private Path file;

        @Option(
                names = {"-i", "--interactive"},
                description = "Ask for one prompt after another; /help lists what can be changed on the way.")
        private boolean interactive;

        String read() throws IOException {
            if (file != null) {
                return TextSource.read(file, TextSource.LYRIC_COLUMN);
            }
            return text.equals("-") ? TextSource.read(System.in, "standard input") : TextSource.withLineFeeds(text);
        }
    }

    @Option(
            names = "--length",
            paramLabel = "N",
            defaultValue = "500",
            description = "Characters to generate (default: ${DEFAULT-VALUE}).")
    private int length;

    @Mixin
    private SamplingOptions sampling;

    @Option(
            names = "--stop",
            paramLabel = "TEXT",
            description = "End a text before this one, \\n being a line feed; can be given more than once.")
    private List<String> stop = List.of();

    @Option(names = "--seed", paramLabel = "N", description = "Seed (default: another one every time).")
    private Long seed;

    @Option(
            names = "--num-samples",
            paramLabel = "N",
            defaultValue = "1",
            description = "How many texts to generate (default: ${DEFAULT-VALUE}).")
    private int numSamples;

    @Option(
            names = "--json",
            description =
                    "Print one JSON document, and save nothing: each text, how many characters were drawn in how many"
                            + " seconds, and why it ended.")
    private boolean json;

    @Option(
            names = "--logprobs",
            description =
                    "With --json, add the logarithm of the probability of each character, in nats, as the model gives"
                            + " it at a temperature of 1.")
    private boolean logProbabilities;

    @Mixin
    private DeviceOptions device;

    @Override
    public Integer call() throws IOException {
        check();
        long chosenSeed = seed != null ? seed : ThreadLocalRandom.current().nextInt(Integer.MAX_VALUE);
        TextWriter.Request request = new TextWriter.Request(
                prompt.read(),
                length,
                sampling.get(),
                stop.stream().map(GenerateCommand::unescaped).toList(),
                chosenSeed,
                0);
        List<RunFolder> folders = runs.findAll();
        for (RunFolder folder : folders) {
            folder.tokenizer().encode(request.prompt()); // refused before the first text is written
        }
        log.info("Seed {}", chosenSeed);
        try (Backend backend = device.open()) {
            if (prompt.interactive) {
                new GenerateSession(backend, folders, request).run();
            } else if (json) {
                System.out.println(new ObjectMapper().writeValueAsString(document(backend, folders, request)));
            } else {
                write(backend, folders, request);
            }
        }
        return 0;
    }

    private void check() {
        if (numSamples < 1) {
            throw new IllegalArgumentException(numSamples + " samples are not possible; give --num-samples 1 or more.");
        }
        if (logProbabilities && !json) {
            throw new IllegalArgumentException("Probabilities are part of the JSON document; add --json.");
        }
        if (prompt.interactive && (json || numSamples > 1)) {
            throw new IllegalArgumentException(
                    "--interactive writes one text for each prompt; leave out --json and --num-samples.");
        }
    }

    /** A shell has no simple way to write a line feed. */
    static String unescaped(String text) {
        return text.replace("\\n", "\n");
    }

    private void write(Backend backend, List<RunFolder> folders, TextWriter.Request request) throws IOException {
        StringBuilder all = new StringBuilder();
        try (Interrupts interrupts = new Interrupts()) {
            for (int run = 0; run < folders.size() && !interrupts.getAsBoolean(); run++) {
                if (folders.size() > 1) {
                    print(all, (run > 0 ? "\n" : "") + heading(folders.get(run)) + "\n");
                }
                try (TextWriter writer = new TextWriter(backend, folders.get(run))) {
                    for (int sample = 0; sample < numSamples && !interrupts.getAsBoolean(); sample++) {
                        print(all, (sample > 0 ? "\n---\n" : "") + request.prompt());
                        writer.write(request.withSample(sample), text -> print(all, text), interrupts);
                    }
                }
                print(all, "\n");
            }
            log.info("Saved as {}", save(null, folders, all.toString()));
        }
    }

    /** What stands above the text of a run where there are several. */
    static String heading(RunFolder run) {
        return "=== " + run.path() + " (" + Stage.of(run.modelConfig()).name() + ") ===";
    }

    private ObjectNode document(Backend backend, List<RunFolder> folders, TextWriter.Request request)
            throws IOException {
        Sampling drawn = request.sampling();
        ObjectNode document = JsonNodeFactory.instance
                .objectNode()
                .put("prompt", request.prompt())
                .put("temperature", drawn.temperature())
                .put("top_k", drawn.topK())
                .put("top_p", drawn.topP())
                .put("seed", request.seed());
        ArrayNode texts = document.putArray("texts");
        try (Interrupts interrupts = new Interrupts()) {
            for (RunFolder folder : folders) {
                try (TextWriter writer = new TextWriter(backend, folder)) {
                    for (int sample = 0; sample < numSamples && !interrupts.getAsBoolean(); sample++) {
                        TextWriter.Text text = writer.write(request.withSample(sample), piece -> {}, interrupts);
                        ObjectNode node = texts.addObject()
                                .put("run", folder.path().toString())
                                .put("model", Stage.of(folder.modelConfig()).name())
                                .put("sample", sample)
                                .put("text", text.text())
                                .put("tokens", text.tokens())
                                .put("seconds", text.seconds())
                                .put("finish_reason", text.end().toString().toLowerCase(Locale.ROOT));
                        if (logProbabilities) {
                            ArrayNode values = node.putArray("logprobs");
                            for (double value : writer.logProbabilities(request.prompt(), text.text())) {
                                values.add(value);
                            }
                        }
                    }
                }
            }
        }
        return document;
    }

    /** Prints a part of what is saved in the end. */
    static void print(StringBuilder all, String text) {
        System.out.print(Terminal.shown(text));
        if (System.out.checkError()) { // flushes; the reader is gone, as with `| head`
            throw new UncheckedIOException(new IOException(Main.OUTPUT_CLOSED));
        }
        all.append(text);
    }

    /**
     * Saves the text as generation_MODEL_YYYYMMDD_HHMM.txt, with a number appended if that exists.
     *
     * @param before the file of an earlier call, which is replaced, or null
     */
    static Path save(Path before, List<RunFolder> folders, String text) throws IOException {
        Path file = before != null ? before : newFile(folders);
        AtomicFiles.write(file, text.getBytes(StandardCharsets.UTF_8));
        return file;
    }

    private static Path newFile(List<RunFolder> folders) throws IOException {
        String models = folders.stream()
                .map(folder -> Stage.of(folder.modelConfig()).name())
                .distinct()
                .collect(Collectors.joining("_"));
        String name =
                "generation_" + models + "_" + LocalDateTime.now().format(DateTimeFormatter.ofPattern("yyyyMMdd_HHmm"));
        Files.createDirectories(FOLDER);
        Path file = FOLDER.resolve(name + ".txt");
        for (int i = 2; Files.exists(file); i++) {
            file = FOLDER.resolve(name + "_" + i + ".txt");
        }
        return file;
    }
}
