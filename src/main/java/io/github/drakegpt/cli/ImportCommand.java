package io.github.drakegpt.cli;

import com.fasterxml.jackson.databind.node.BooleanNode;
import com.fasterxml.jackson.databind.node.IntNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import io.github.drakegpt.checkpoint.Checkpoint;
import io.github.drakegpt.checkpoint.ImportedModel;
import io.github.drakegpt.checkpoint.ImportedVocabulary;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.TrainingState;
import io.github.drakegpt.data.Folder;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.train.Settings;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code import}: makes a run of a model that PyTorch saved. */
@Command(
        name = "import",
        mixinStandardHelpOptions = true,
        description = {
            "Makes a run folder of a model that PyTorch trained: a state_dict in a file of torch.save, alone or in a"
                    + " checkpoint's dictionary, or in a safetensors file, under the names that DrakeGPT's models have.",
            "Which of the six models it is, and its sizes, are read from the tensors' names and shapes. Nothing in the file is"
                    + " run."
        },
        footer = {
            "",
            "Examples:",
            "  ${COMMAND-FULL-NAME} model.pt --vocab data/drake --run runs/imported",
            "  ${COMMAND-FULL-NAME} ckpt.pt --vocab data/shakespeare_char/meta.pkl --final-norm",
            "  ${COMMAND-FULL-NAME} bigram.pt --vocab chars.txt --set model.context_length=8"
        })
final class ImportCommand implements Callable<Integer> {
    private static final Logger log = LoggerFactory.getLogger(ImportCommand.class);
    private static final String CONTEXT = "model.context_length";

    @Parameters(paramLabel = "FILE", description = "What torch.save or safetensors wrote.")
    private Path file;

    @Option(names = "--model", paramLabel = "NAME", description = "The model that it must be (default: what it is).")
    private String model;

    @Option(
            names = "--vocab",
            required = true,
            paramLabel = "FILE|CORPUS",
            description =
                    "The characters in the order of their ids: a text that has each once, a vocab.json or nanoGPT's"
                            + " meta.pkl; or the corpus that they were taken from, as a file or as a folder that setup made.")
    private Path vocab;

    @Option(
            names = "--run",
            paramLabel = "DIR",
            description = "Folder of the new run (default: runs/ and the model's name with the time).")
    private Path run;

    @Option(
            names = "--final-norm",
            description = "The TransformerLM applies its final norm, ln_f; DrakeGPT's own has it and never does.")
    private boolean finalNorm;

    @Mixin
    private SettingsOptions options;

    @Override
    public Integer call() throws IOException {
        if (model != null) {
            Models.requireKnown(model);
        }
        ImportedModel imported = ImportedModel.read(file);
        if (model != null && !model.equals(imported.name())) {
            throw new IOException(file + " holds a " + imported.name() + " and no " + model
                    + "; give another file, or leave out --model.");
        }
        ImportedVocabulary vocabulary = ImportedVocabulary.read(vocab, imported.vocabSize());
        Settings settings = settings(imported);
        ModelConfig config = settings.model(imported.vocabSize());
        float[] weights = imported.weights(config, vocabulary);
        ObjectNode json = vocabulary.corpus().isPresent()
                ? settings.config(vocabulary.corpus().get())
                : settings.config(imported.vocabSize());

        RunFolder folder = write(json, vocabulary, config, weights);
        if (!imported.dropped().isEmpty()) {
            log.warn(
                    "{} were trained and are not applied; if the model applies its final norm, import it with --final-norm.",
                    String.join(" and ", imported.dropped()));
        }
        System.out.printf(
                Locale.ROOT,
                "%s with %,d parameters in %s%n",
                config.name(),
                LanguageModel.parametersOf(config).count(),
                folder.path());
        return 0;
    }

    private Settings settings(ImportedModel imported) throws IOException {
        Settings settings = options.resolve(false);
        if (imported.sizes().isEmpty() && settings.source(CONTEXT).equals("default")) {
            throw new IOException(file + " does not tell how many characters a " + imported.name()
                    + " is scored on at once; say so with --set " + CONTEXT + "=N.");
        }
        String source = file.toString();
        settings.set("model.name", TextNode.valueOf(imported.name()), source);
        settings.set("model.final_norm", BooleanNode.valueOf(finalNorm), source);
        imported.sizes().forEach((size, value) -> settings.set("model." + size, IntNode.valueOf(value), source));
        return settings;
    }

    private RunFolder write(ObjectNode config, ImportedVocabulary vocabulary, ModelConfig model, float[] weights)
            throws IOException {
        Path path = run != null ? run : Runs.newFolder(model.name());
        RunFolder folder = RunFolder.createLocked(path, config, vocabulary.tokenizer());
        Folder lock = folder.lock();
        try (lock) {
            float[] zero = new float[weights.length];
            folder.save(
                    new Checkpoint(weights, zero, zero.clone(), TrainingState.START),
                    LanguageModel.parametersOf(model));
        } catch (IOException | RuntimeException | Error e) {
            if (!folder.hasStarted()) {
                folder.discard();
            }
            throw e;
        }
        return folder;
    }
}
