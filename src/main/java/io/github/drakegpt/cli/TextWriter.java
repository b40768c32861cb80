package io.github.drakegpt.cli;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.model.Generator;
import io.github.drakegpt.model.LogProbabilities;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.ops.Sampling;
import java.io.IOException;
import java.util.List;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;

/** Texts of one run. */
final class TextWriter implements AutoCloseable {
    private final Backend backend;
    private final Weights weights;
    private final CharTokenizer tokenizer;
    private final Generator generator;

    /**
     * What is asked for.
     *
     * @param prompt the text to continue; empty for the start of a line
     * @param length the most characters to draw
     * @param stop strings before which the text ends
     * @param seed and {@code sample}: of the random numbers; each number of a sample gives another text
     */
    record Request(String prompt, int length, Sampling sampling, List<String> stop, long seed, int sample) {
        Request {
            new StopStrings(stop);
            if (length < 0) {
                throw new IllegalArgumentException("A length of " + length + " is not possible; give 0 or more.");
            }
        }

        Request withPrompt(String other) {
            return new Request(other, length, sampling, stop, seed, sample);
        }

        Request withLength(int other) {
            return new Request(prompt, other, sampling, stop, seed, sample);
        }

        Request withSampling(Sampling other) {
            return new Request(prompt, length, other, stop, seed, sample);
        }

        Request withStop(List<String> other) {
            return new Request(prompt, length, sampling, other, seed, sample);
        }

        /** The first sample of another seed. */
        Request withSeed(long other) {
            return new Request(prompt, length, sampling, stop, other, 0);
        }

        Request withSample(int other) {
            return new Request(prompt, length, sampling, stop, seed, other);
        }
    }

    /** Why a text ended; the names are those of other programs' interfaces. */
    enum End {
        LENGTH,
        STOP,
        INTERRUPTED
    }

    /**
     * What was written.
     *
     * @param text without the prompt
     * @param seconds that drawing took
     */
    record Text(String text, double seconds, End end) {
        /** Its characters. */
        int tokens() {
            return text.codePointCount(0, text.length());
        }
    }

    TextWriter(Backend backend, RunFolder run) throws IOException {
        this.backend = backend;
        this.weights = run.loadWeights();
        this.tokenizer = run.tokenizer();
        this.generator = new Generator(backend, weights);
    }

    /**
     * Continues a prompt.
     *
     * @param sink receives the text, piece by piece
     * @param interrupted whether to end the text early
     * @throws IllegalArgumentException if the model does not know a character of the prompt
     */
    Text write(Request request, Consumer<String> sink, BooleanSupplier interrupted) {
        StopStrings stop = new StopStrings(request.stop());
        StringBuilder text = new StringBuilder();
        Consumer<String> out = piece -> {
            if (!piece.isEmpty()) {
                text.append(piece);
                sink.accept(piece);
            }
        };
        boolean[] ended = {false};
        long start = System.nanoTime();
        generator.generateWhile(
                tokens(request.prompt()),
                request.length(),
                request.sampling(),
                request.seed(),
                request.sample(),
                true,
                token -> {
                    out.accept(stop.take(tokenizer.decode(token)));
                    ended[0] = interrupted.getAsBoolean();
                    return !stop.found() && !ended[0];
                });
        double seconds = 1e-9 * (System.nanoTime() - start);
        out.accept(stop.rest());
        End end = stop.found() ? End.STOP : ended[0] ? End.INTERRUPTED : End.LENGTH;
        return new Text(text.toString(), seconds, end);
    }

    /** The logarithms of the probabilities that the model gives each character of a text after its prompt, in nats. */
    double[] logProbabilities(String prompt, String text) {
        int[] before = tokens(prompt);
        int[] after = tokenizer.encode(text);
        int[] all = new int[before.length + after.length];
        System.arraycopy(before, 0, all, 0, before.length);
        System.arraycopy(after, 0, all, before.length, after.length);
        try (LogProbabilities model = new LogProbabilities(backend, weights)) {
            return model.of(all, before.length);
        }
    }

    private int[] tokens(String prompt) {
        return prompt.isEmpty() ? tokenizer.emptyPrompt() : tokenizer.encode(prompt);
    }

    @Override
    public void close() {
        generator.close();
    }
}
