package io.github.drakegpt.model;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Arena;

/**
 * The probabilities of a text's tokens as the model sees them when it writes: each after all tokens before it, as many
 * as the context holds. {@link Scorer} is faster, but its windows do not overlap.
 */
public final class LogProbabilities implements AutoCloseable {
    private static final int ROWS = 2048;

    private final Backend backend;
    private final Arena arena;
    private final LanguageModel model;
    private final int contextLength; // T
    private final int vocabSize; // V
    private final int windowsPerPass;
    private float[] logits; // (rows of the last pass, V)

    public LogProbabilities(Backend backend, Weights weights) {
        this.backend = backend;
        this.contextLength = weights.config().contextLength();
        this.vocabSize = weights.config().vocabSize();
        this.windowsPerPass = Math.max(1, ROWS / contextLength);
        this.arena = backend.newArena();
        try {
            this.model = LanguageModel.forEvaluation(weights.config(), backend, arena, windowsPerPass, null);
            model.load(weights);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    /**
     * Natural logarithms of the probabilities of the tokens from {@code from} on.
     *
     * @param from at least 1
     */
    public double[] of(int[] tokens, int from) {
        double[] result = new double[tokens.length - from];
        // one window from the first token on; its row i predicts token i + 1
        int first = Math.min(tokens.length - 1, contextLength);
        if (first >= from) {
            forward(tokens, 0, 1, first);
            for (int row = from - 1; row < first; row++) {
                result[row + 1 - from] = logProbability(row, tokens[row + 1]);
            }
        }
        // then a window for each token, of which the last row predicts it
        for (int next = Math.max(from, first + 1); next < tokens.length; ) {
            int windows = Math.min(windowsPerPass, tokens.length - next);
            forward(tokens, next - contextLength, windows, contextLength);
            for (int window = 0; window < windows; window++, next++) {
                result[next - from] = logProbability((window + 1) * contextLength - 1, tokens[next]);
            }
        }
        return result;
    }

    /** Windows of {@code length} tokens: the first begins at token {@code start}, each other one token later. */
    private void forward(int[] tokens, int start, int windows, int length) {
        int[] input = new int[windows * length];
        for (int window = 0; window < windows; window++) {
            System.arraycopy(tokens, start + window, input, window * length, length);
        }
        model.writeTokens(input);
        model.forward(backend, Pass.evaluation(windows, length));
        logits = new float[windows * length * vocabSize];
        model.logits().read(logits);
    }

    /** Of a token after a row, by a log-softmax in double precision. */
    private double logProbability(int row, int token) {
        int offset = row * vocabSize;
        float max = Float.NEGATIVE_INFINITY;
        for (int v = 0; v < vocabSize; v++) {
            max = Math.max(max, logits[offset + v]);
        }
        double sum = 0;
        for (int v = 0; v < vocabSize; v++) {
            sum += Math.exp(logits[offset + v] - max);
        }
        return logits[offset + token] - max - Math.log(sum);
    }

    @Override
    public void close() {
        arena.close();
    }
}
