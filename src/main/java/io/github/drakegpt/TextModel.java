package io.github.drakegpt;

import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.model.Generator;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.Scorer;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.tensor.Arena;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Predicate;
import java.util.function.Supplier;

/**
 * A trained model that continues and scores texts, character by character.
 *
 * <pre>{@code
 * try (Device device = Device.open();
 *         TextModel model = TextModel.load(device, Path.of("runs/journey/TransformerLM"))) {
 *     System.out.println(model.generate("Tonight "));
 * }
 * }</pre>
 *
 * <p><b>Threads.</b> Any number of threads may use one model; all share its weights. On a CPU each writes its text on its
 * own thread; on a GPU they take turns, and so do scorings everywhere. What a text is depends on its seed only.
 */
public final class TextModel implements AutoCloseable {
    private static final GenerationOptions DEFAULTS =
            GenerationOptions.builder().build();

    private final Device device;
    private final CharTokenizer tokenizer;
    private final Arena arena;
    private final LanguageModel weights; // nothing runs on it; the others share its weights
    private final Queue<Generator> idle = new ConcurrentLinkedQueue<>();
    private final ReentrantReadWriteLock life = new ReentrantReadWriteLock(); // calls read, close writes
    private Scorer scorer; // null until a text is scored
    private boolean closed;

    /**
     * How well a model predicts a text.
     *
     * @param nll mean negative log-likelihood, in nats per predicted character
     * @param perplexity e to the power of nll
     * @param predicted number of characters that were predicted: all but the first
     */
    public record Score(double nll, double perplexity, int predicted) {}

    TextModel(Device device, CharTokenizer tokenizer, Weights from) {
        this.device = device;
        this.tokenizer = tokenizer;
        this.arena = device.newArena();
        try {
            weights = LanguageModel.forEvaluation(from.config(), device.backend(), arena, 1, null);
            weights.load(from);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    /**
     * Loads the newest weights of a run.
     *
     * @param device where it will run; must be closed after the model
     * @param run a folder that training or {@code drakegpt quantize} wrote
     * @return the model
     * @throws IOException if it is no such folder, or a file is missing or damaged
     */
    public static TextModel load(Device device, Path run) throws IOException {
        return load(device, RunFolder.open(run));
    }

    /**
     * Loads the weights that had the lowest validation loss.
     *
     * @param device where it will run; must be closed after the model
     * @param run a folder that training wrote
     * @return the model
     * @throws IOException if it is no such folder, it has not been evaluated, or a file is missing or damaged
     */
    public static TextModel loadBest(Device device, Path run) throws IOException {
        return load(device, RunFolder.open(run).with(RunFolder.WeightsOf.BEST));
    }

    private static TextModel load(Device device, RunFolder run) throws IOException {
        return new TextModel(device, run.tokenizer(), run.loadWeights());
    }

    /**
     * All characters that the model knows.
     *
     * @return each once, in the order of their ids
     */
    public String vocabulary() {
        return tokenizer.characters();
    }

    /**
     * How far a prediction looks back.
     *
     * @return T, in characters
     */
    public int contextLength() {
        return weights.config().contextLength();
    }

    /**
     * Continues a text with the default options.
     *
     * @param prompt the text; empty for the start of a line
     * @return the continuation alone
     * @throws IllegalArgumentException if the prompt has characters that the model does not know
     * @throws IllegalStateException if the model is closed
     */
    public String generate(String prompt) {
        return generate(prompt, DEFAULTS);
    }

    /**
     * Continues a text.
     *
     * @param prompt the text; empty for the start of a line
     * @param options length, sampling, seed
     * @return the continuation alone
     * @throws IllegalArgumentException if the prompt has characters that the model does not know
     * @throws IllegalStateException if the model is closed
     */
    public String generate(String prompt, GenerationOptions options) {
        StringBuilder text = new StringBuilder();
        generate(prompt, options, character -> {
            text.append(character);
            return true;
        });
        return text.toString();
    }

    /**
     * Continues a text, and gives out each character as soon as it is drawn; a GPU draws several at once.
     *
     * @param prompt the text; empty for the start of a line
     * @param options length, sampling, seed
     * @param sink receives each character, on the calling thread, and returns whether to go on
     * @throws IllegalArgumentException if the prompt has characters that the model does not know
     * @throws IllegalStateException if the model is closed
     */
    public void generate(String prompt, GenerationOptions options, Predicate<String> sink) {
        int[] tokens = prompt.isEmpty() ? tokenizer.emptyPrompt() : tokenizer.encode(prompt);
        whileOpen(() -> {
            Generator free = idle.poll();
            Generator generator = free != null ? free : new Generator(device.backend(), weights);
            try {
                generator.generateWhile(
                        tokens,
                        options.length(),
                        options.sampling(),
                        options.drawSeed(),
                        0,
                        true,
                        token -> sink.test(tokenizer.decode(token)));
            } finally {
                idle.add(generator);
            }
            return null;
        });
    }

    /**
     * Measures how well the model predicts a text, in consecutive windows of T characters: each predicts the character
     * after each of its own, and sees only its own.
     *
     * @param text two characters or more
     * @return the score
     * @throws IllegalArgumentException if it is shorter, or has characters that the model does not know
     * @throws IllegalStateException if the model is closed
     */
    public Score score(String text) {
        int[] tokens = tokenizer.encode(text);
        return whileOpen(() -> {
            synchronized (idle) {
                if (scorer == null) {
                    scorer = new Scorer(device.backend(), weights);
                }
                Scorer.Score score = scorer.score(tokens);
                return new Score(score.nll(), score.perplexity(), score.predicted());
            }
        });
    }

    private <T> T whileOpen(Supplier<T> call) {
        life.readLock().lock();
        try {
            if (closed) {
                throw new IllegalStateException("The model is closed; load it again.");
            }
            return call.get();
        } finally {
            life.readLock().unlock();
        }
    }

    /**
     * Frees the model's memory, after the calls under way. A second close does nothing.
     *
     * @throws IllegalStateException if it is called by a sink, for which the call under way would wait
     */
    @Override
    public void close() {
        if (life.getReadHoldCount() > 0) {
            throw new IllegalStateException(
                    "A sink cannot close its model; return false, and close it after the call.");
        }
        life.writeLock().lock();
        try {
            if (!closed) {
                closed = true;
                idle.forEach(Generator::close);
                if (scorer != null) {
                    scorer.close();
                }
                arena.close();
            }
        } finally {
            life.writeLock().unlock();
        }
    }
}
