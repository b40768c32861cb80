package io.github.drakegpt;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.TextNode;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.Corpus;
import io.github.drakegpt.data.Folder;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tracking.MetricsFile;
import io.github.drakegpt.tracking.MetricsRecorder;
import io.github.drakegpt.tracking.ModelCard;
import io.github.drakegpt.tracking.TensorBoardFile;
import io.github.drakegpt.train.Settings;
import io.github.drakegpt.train.Trainer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BooleanSupplier;

/**
 * Trains a model on a text.
 *
 * <pre>{@code
 * try (Device device = Device.open();
 *         TextModel model = Training.of(device, text).steps(2000).seed(7).train()) {
 *     System.out.println(model.generate(""));
 * }
 * }</pre>
 *
 * <p>Settings that are not chosen are those of {@code config/default.yaml} in the library; of two that contradict each other
 * the later one holds. The model knows the characters of its text, of which the first 90% are
 * trained on and the rest is for validation. The same text, settings and seed give the same model. For one thread.
 */
public final class Training {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Device device;
    private final Corpus corpus;
    private final Settings settings = new Settings();
    private final List<TrainingListener> listeners = new ArrayList<>();
    private String preset = "default";
    private BooleanSupplier stop = () -> false;
    private Path runFolder; // null: nothing is saved

    private Training(Device device, Corpus corpus) {
        this.device = device;
        this.corpus = corpus;
        settings.set("device.precision", TextNode.valueOf(device.precision().label()), "the device");
    }

    /**
     * Begins to describe a training.
     *
     * @param device where the model is trained, and will run
     * @param text to train on
     * @return the training, with the default settings
     * @throws IllegalArgumentException if the text has fewer than two characters or more than 65,536 different ones
     */
    public static Training of(Device device, String text) {
        return new Training(device, Corpus.prepare(text));
    }

    /**
     * Lays a built-in set of settings over those so far.
     *
     * @param name {@code default}, {@code laptop} or {@code scaled}
     * @return this
     * @throws IllegalArgumentException if there is no such set
     */
    public Training preset(String name) {
        settings.overlayBuiltIn(name);
        preset = name;
        return this;
    }

    /**
     * The model.
     *
     * @param name {@code TransformerLM}, the default, or one of the simpler ones, such as {@code BigramLM}
     * @return this
     */
    public Training model(String name) {
        return set("model.name", name);
    }

    /**
     * Trains a TransformerLM whose attention and feed-forward weights are rounded, with the settings that were found best
     * for it and for the preset.
     *
     * @param quantization {@code b1.58} for weights of -1, 0 and 1, {@code bitnet} for -1 and 1
     * @return this
     * @throws IllegalArgumentException if there is no such quantization
     */
    public Training quantize(String quantization) {
        settings.quantize(Quantization.of(quantization), preset, "quantize");
        return this;
    }

    /**
     * Length of the context.
     *
     * @param characters T: how far a prediction looks back
     * @return this
     */
    public Training contextLength(int characters) {
        return set("model.context_length", characters);
    }

    /**
     * Training steps.
     *
     * @param steps 1 or more
     * @return this
     */
    public Training steps(int steps) {
        return set("train.iters", steps);
    }

    /**
     * Sequences of a step.
     *
     * @param sequences B
     * @return this
     */
    public Training batchSize(int sequences) {
        return set("train.batch_size", sequences);
    }

    /**
     * Highest learning rate of the schedule.
     *
     * @param rate 0 or more
     * @return this
     */
    public Training maxLearningRate(double rate) {
        return set("train.max_lr", rate);
    }

    /**
     * Seed of everything random.
     *
     * @param seed any
     * @return this
     */
    public Training seed(long seed) {
        return set("train.seed", seed);
    }

    /**
     * Any setting of the model and the training in default.yaml.
     *
     * @param key such as {@code train.patience} or {@code model.num_layers}
     * @param value a number, a boolean, a string or a list of numbers, as the setting has
     * @return this
     * @throws IllegalArgumentException if there is no such setting, or it has values of another type
     */
    public Training set(String key, Object value) {
        if (key.startsWith("device.")) {
            throw new IllegalArgumentException(key + " belongs to the device; choose it when you open that.");
        }
        settings.set(key, JSON.valueToTree(value), "set");
        return this;
    }

    /**
     * Saves the run: settings, a checkpoint at every evaluation, metrics for the report and TensorBoard.
     *
     * @param folder created; must not hold a run already
     * @return this
     */
    public Training runFolder(Path folder) {
        runFolder = folder;
        return this;
    }

    /**
     * Adds a listener.
     *
     * @param listener which {@link #train} closes
     * @return this
     */
    public Training listener(TrainingListener listener) {
        listeners.add(listener);
        return this;
    }

    /**
     * Lets training be stopped; the model is what it is by then.
     *
     * @param stop asked between steps, on the training's thread
     * @return this
     */
    public Training stopWhen(BooleanSupplier stop) {
        this.stop = stop;
        return this;
    }

    /**
     * Trains until all steps are done or something ends it earlier, and closes the listeners.
     *
     * @return the model as it is after the last step
     * @throws IllegalArgumentException if settings are not possible, the text is too short for the context, or the folder
     *     holds a run already
     * @throws ArithmeticException if the loss becomes infinite or NaN; the run's checkpoint before that stays
     * @throws io.github.drakegpt.tensor.OutOfMemoryException if the device has too little memory
     * @throws IOException if a file cannot be written, or a listener throws it
     */
    public TextModel train() throws IOException {
        Listeners listening = new Listeners(listeners);
        try (listening) {
            return new TextModel(device, corpus.tokenizer(), trainWith(listening));
        }
    }

    private Weights trainWith(Listeners listening) throws IOException {
        if (runFolder == null) {
            return trainWith(List.of(listening), null);
        }
        RunFolder run = RunFolder.createLocked(runFolder, settings.config(corpus), corpus.tokenizer());
        Folder lock = run.lock();
        try (lock) {
            try (MetricsRecorder recorder =
                    new MetricsRecorder(List.of(new MetricsFile(run), new TensorBoardFile(run), new ModelCard(run)))) {
                return trainWith(List.of(recorder, listening), run);
            } catch (IOException | RuntimeException | OutOfMemoryError e) {
                if (!run.hasStarted()) {
                    run.discard();
                }
                throw e;
            }
        }
    }

    private Weights trainWith(List<io.github.drakegpt.train.TrainingListener> all, RunFolder run) throws IOException {
        try (Trainer trainer = new Trainer(
                device.backend(), settings.model(corpus.tokenizer().size()), settings.train(), corpus, run, all)) {
            trainer.train(stop);
            return trainer.weights();
        }
    }
}
