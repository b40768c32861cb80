package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.Corpora;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.model.Scorer;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.quant.Quantization;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code quantize}: packs a run's weights into one or two bits each. */
@Command(
        name = "quantize",
        mixinStandardHelpOptions = true,
        description = {
            "Packs the attention and feed-forward weights of a TransformerLM into 1 bit (bitnet) or 2 bits (b1.58) each, into"
                    + " a folder that generate, score and profile take as a run.",
            "A run that was trained with --quant loses nothing by it. One in full precision is rounded without training for"
                    + " it, which does not work: the loss that is printed shows how badly."
        },
        footer = {
            "",
            "Examples:",
            "  ${COMMAND-FULL-NAME} --run runs/journey/TransformerLM-b1.58",
            "  ${COMMAND-FULL-NAME} --run runs/journey/TransformerLM --to b1.58 --out runs/rounded"
        })
final class QuantizeCommand implements Callable<Integer> {
    private static final Logger log = LoggerFactory.getLogger(QuantizeCommand.class);
    private static final ObjectMapper JSON = new ObjectMapper();

    @Mixin
    private RunOptions runs;

    @Option(
            names = "--to",
            paramLabel = "bitnet|b1.58",
            completionCandidates = Candidates.OfQuantizations.class,
            description = "For a run in full precision: bitnet or b1.58.")
    private String to;

    @Option(
            names = "--out",
            paramLabel = "DIR",
            description =
                    "Folder for the packed weights (default: the run's, with -packed behind its name; under runs/ for a pretrained one).")
    private Path out;

    @Option(
            names = "--data",
            paramLabel = "DIR",
            description = "Corpus whose validation split the loss is measured on (default: the run's).")
    private Path data;

    @Mixin
    private DeviceOptions device;

    @Override
    public Integer call() throws IOException {
        RunFolder folder = runs.find();
        ModelConfig config = folder.modelConfig();
        ModelConfig packedConfig = config.withQuant(target(folder));
        float[] trained = folder.loadTrainedWeights();
        Weights packed = pack(folder, packedConfig, trained);
        Corpora.Found corpus = Runs.corpusOf(folder.path(), data);
        Optional<int[]> tokens = Runs.validation(folder, corpus);
        if (tokens.isEmpty() && data != null) {
            throw Runs.otherVocabulary(folder, corpus);
        }

        Table table = new Table("weights", "val loss", "bytes", "of fp32");
        long parameters = LanguageModel.parametersOf(config).count();
        try (Backend backend = device.open()) {
            boolean wasTrained = config.quant() != Quantization.NONE;
            String fullLoss = wasTrained ? "" : loss(backend, Weights.of(config, trained), tokens);
            add(table, "fp32", fullLoss, Float.BYTES * parameters, parameters);
            add(table, "bf16", "", Float.BYTES / 2 * parameters, parameters);
            add(
                    table,
                    packedConfig.quant().label() + (wasTrained ? ", packed" : ", rounded without training"),
                    loss(backend, packed, tokens),
                    packed.bytes(),
                    parameters);
        }
        RunFolder written = write(folder, packed);
        System.out.print(table);
        if (tokens.isPresent()) {
            System.out.printf(
                    Locale.ROOT,
                    "Loss in nats per character over %,d characters of %s.%n",
                    tokens.get().length - 1,
                    corpus.corpus().name());
        } else {
            log.warn("The run's corpus is not here, so the loss was not measured; give it with --data.");
        }
        log.info("Packed weights in {}, {} bytes on disk", written.path(), written.weightsFileBytes());
        return 0;
    }

    private Quantization target(RunFolder folder) {
        ModelConfig config = folder.modelConfig();
        if (!config.name().equals(Models.TRANSFORMER)) {
            throw new IllegalArgumentException(config.name() + " has nothing to quantize; give a run of "
                    + Models.TRANSFORMER + ", whose attention and feed-forward weights can be.");
        }
        Quantization wanted = to == null ? config.quant() : Quantization.of(to);
        if (config.quant() != Quantization.NONE && config.quant() != wanted) {
            throw new IllegalArgumentException(folder.path() + " was trained for "
                    + config.quant().label() + " and cannot become " + wanted.label() + "; leave out --to.");
        }
        if (wanted == Quantization.NONE) {
            throw new IllegalArgumentException(
                    folder.path() + " is in full precision; say with --to bitnet or --to b1.58 what to round it to.");
        }
        return wanted;
    }

    private static Weights pack(RunFolder folder, ModelConfig config, float[] trained) throws IOException {
        try {
            return Weights.of(config, trained);
        } catch (IllegalArgumentException e) { // the file's fault, not the command line's
            throw new IOException(folder.path() + ": " + e.getMessage(), e);
        }
    }

    private static String loss(Backend backend, Weights weights, Optional<int[]> tokens) {
        if (tokens.isEmpty()) {
            return "";
        }
        try (Scorer scorer = new Scorer(backend, weights)) {
            return String.format(Locale.ROOT, "%.4f", scorer.score(tokens.get()).nll());
        }
    }

    private static void add(Table table, String name, String loss, long bytes, long parameters) {
        table.add(
                name,
                loss,
                String.format(Locale.ROOT, "%,d", bytes),
                String.format(Locale.ROOT, "%.1f%%", 100.0 * bytes / (Float.BYTES * parameters)));
    }

    private RunFolder write(RunFolder folder, Weights packed) throws IOException {
        ObjectNode config = folder.config().deepCopy();
        config.set("model", JSON.valueToTree(packed.config()));
        return RunFolder.createPacked(packedFolder(folder), config, folder.tokenizer(), packed);
    }

    /** Beside the run; for a run that comes with the project, in {@code runs}. */
    private Path packedFolder(RunFolder run) {
        Path source = run.path().toAbsolutePath().normalize(); // "." has no name to append to
        String name = source.getFileName() + "-packed";
        return out != null ? out : Runs.isPretrained(run) ? Runs.FOLDER.resolve(name) : source.resolveSibling(name);
    }
}
