package io.github.drakegpt.model;

import io.github.drakegpt.backend.Arena;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.nn.Pass;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;

/** Measures how well a model predicts a given text. */
public final class Scorer implements AutoCloseable {
    private static final int ROWS = 2048;

    private final Backend backend;
    private final Arena arena;
    private final LanguageModel[] replicas;
    private final Tensor[] losses; // each (1)
    private final int contextLength;
    private final int windowsPerPass;

    /**
     * @param nll mean negative log-likelihood, in nats per predicted token
     * @param perplexity e to the power of nll
     * @param predicted number of tokens that were predicted: all but the first
     */
    public record Score(double nll, double perplexity, int predicted) {}

    public Scorer(Backend backend, Weights weights) {
        ModelConfig config = weights.config();
        this.backend = backend;
        this.arena = backend.newArena();
        this.contextLength = config.contextLength();
        this.windowsPerPass = Math.max(1, ROWS / contextLength);
        this.replicas = new LanguageModel[backend.workers()];
        this.losses = new Tensor[replicas.length];
        for (int i = 0; i < replicas.length; i++) {
            LanguageModel shared = i == 0 ? null : replicas[0];
            replicas[i] = LanguageModel.forEvaluation(config, backend, arena, windowsPerPass, shared);
            losses[i] = arena.allocate(DType.F32, Shape.of(1));
        }
        replicas[0].load(weights);
    }

    /**
     * Scores a text in consecutive windows of T tokens that do not overlap: each predicts the token after each of its
     * own, seeing only what lies in the window.
     *
     * @throws IllegalArgumentException if there are fewer than two tokens
     */
    public Score score(int[] tokens) {
        int predicted = tokens.length - 1;
        if (predicted < 1) {
            throw new IllegalArgumentException(
                    "A text of " + tokens.length + " characters cannot be scored; give at least two.");
        }
        int whole = predicted / contextLength;
        int passes = (whole + windowsPerPass - 1) / windowsPerPass;
        double[] sums = new double[passes];
        backend.parallel(Math.min(replicas.length, passes), r -> {
            for (int pass = r; pass < passes; pass += replicas.length) {
                int first = pass * windowsPerPass;
                sums[pass] =
                        loss(r, tokens, first * contextLength, Math.min(windowsPerPass, whole - first), contextLength);
            }
        });
        double sum = Arrays.stream(sums).sum();
        int rest = predicted - whole * contextLength;
        if (rest > 0) {
            sum += loss(0, tokens, whole * contextLength, 1, rest);
        }
        return new Score(sum / predicted, Math.exp(sum / predicted), predicted);
    }

    private double loss(int replica, int[] tokens, int from, int windows, int length) {
        LanguageModel model = replicas[replica];
        int to = from + windows * length;
        model.tokens().write(Arrays.copyOfRange(tokens, from, to));
        model.targets().write(Arrays.copyOfRange(tokens, from + 1, to + 1));
        model.forwardLoss(Pass.evaluation(windows, length), losses[replica]);
        return losses[replica].toFloats()[0];
    }

    @Override
    public void close() {
        arena.close();
    }
}
