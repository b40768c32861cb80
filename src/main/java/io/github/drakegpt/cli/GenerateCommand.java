package io.github.drakegpt.cli;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.AtomicFiles;
import io.github.drakegpt.data.TextSource;
import io.github.drakegpt.model.Generator;
import io.github.drakegpt.model.Stage;
import io.github.drakegpt.ops.Sampling;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.concurrent.Callable;
import java.util.concurrent.ThreadLocalRandom;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
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
            "  generate --model TransformerLM --prompt \"Tonight \" --length 500",
            "  generate --run runs/journey/BlocksLM --temperature 0.8 --top-k 20 --num-samples 3 --seed 7"
        })
final class GenerateCommand implements Callable<Integer> {
    private static final Logger log = LoggerFactory.getLogger(GenerateCommand.class);
    private static final Path FOLDER = Path.of("inference");

    @Mixin
    private RunOptions runs;

    @Option(names = "--prompt", paramLabel = "TEXT", description = "Text to continue (default: the start of a line).")
    private String prompt = "";

    @Option(
            names = "--length",
            paramLabel = "N",
            defaultValue = "500",
            description = "Characters to generate (default: ${DEFAULT-VALUE}).")
    private int length;

    @Option(
            names = "--temperature",
            paramLabel = "X",
            defaultValue = "1.0",
            description = "Divides the logits; 0 always takes the most likely character (default: ${DEFAULT-VALUE}).")
    private float temperature;

    @Option(
            names = "--top-k",
            paramLabel = "N",
            defaultValue = "0",
            description = "Draw only from the N most likely characters; 0 for all (default: ${DEFAULT-VALUE}).")
    private int topK;

    @Option(
            names = "--top-p",
            paramLabel = "X",
            defaultValue = "1.0",
            description = "Draw only from the most likely characters that together have this probability (default:"
                    + " ${DEFAULT-VALUE}).")
    private float topP;

    @Option(names = "--seed", paramLabel = "N", description = "Seed (default: another one every time).")
    private Long seed;

    @Option(
            names = "--num-samples",
            paramLabel = "N",
            defaultValue = "1",
            description = "How many texts to generate (default: ${DEFAULT-VALUE}).")
    private int numSamples;

    @Mixin
    private DeviceOptions device;

    @Override
    public Integer call() throws IOException {
        Sampling sampling = new Sampling(temperature, topK, topP);
        if (numSamples < 1) {
            throw new IllegalArgumentException(numSamples + " samples are not possible; give --num-samples 1 or more.");
        }
        if (length < 0) {
            throw new IllegalArgumentException("A length of " + length + " is not possible; give --length 0 or more.");
        }
        RunFolder folder = runs.find();
        int[] tokens = prompt.isEmpty()
                ? folder.tokenizer().emptyPrompt()
                : folder.tokenizer().encode(TextSource.withLineFeeds(prompt));
        long chosenSeed = seed != null ? seed : ThreadLocalRandom.current().nextInt(Integer.MAX_VALUE);
        log.info("Seed {}", chosenSeed);
        StringBuilder all = new StringBuilder();
        try (Backend backend = device.open();
                Generator generator = new Generator(backend, folder.loadWeights())) {
            for (int sample = 0; sample < numSamples; sample++) {
                if (sample > 0) {
                    print(all, "\n---\n");
                }
                print(all, prompt);
                generator.generate(
                        tokens,
                        length,
                        sampling,
                        chosenSeed,
                        sample,
                        true,
                        token -> print(all, folder.tokenizer().decode(token)));
            }
            print(all, "\n");
        }
        log.info("Saved as {}", save(Stage.of(folder.modelConfig()).name(), all.toString()));
        return 0;
    }

    private static void print(StringBuilder all, String text) {
        System.out.print(Terminal.shown(text));
        if (System.out.checkError()) { // flushes; the reader is gone, as with `| head`
            throw new UncheckedIOException(new IOException(Main.OUTPUT_CLOSED));
        }
        all.append(text);
    }

    /** Saves the text as generation_MODEL_YYYYMMDD_HHMM.txt, with a number appended if that exists. */
    private static Path save(String model, String text) throws IOException {
        String name =
                "generation_" + model + "_" + LocalDateTime.now().format(DateTimeFormatter.ofPattern("yyyyMMdd_HHmm"));
        Files.createDirectories(FOLDER);
        Path file = FOLDER.resolve(name + ".txt");
        for (int i = 2; Files.exists(file); i++) {
            file = FOLDER.resolve(name + "_" + i + ".txt");
        }
        AtomicFiles.write(file, text.getBytes(StandardCharsets.UTF_8));
        return file;
    }
}
