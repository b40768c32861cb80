package io.github.drakegpt.model;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Collective;
import io.github.drakegpt.backend.Rank;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;

/**
 * Measures how well a model predicts a given text. Any thread may call any method at any time; calls wait for each
 * other, {@link #close} too, and after that throw an {@link IllegalStateException}.
 */
public final class Scorer implements AutoCloseable {
    private static final int ROWS = 2048;

    private final Backend backend;
    private final Collective collective;
    private final Runnable close;
    private final Turns turns = new Turns("scorer");
    private final LanguageModel[] replicas;
    private final Tensor[] losses; // each (1)
    private final CrossEntropyOp[] lossOps;
    private final int contextLength;
    private final int windowsPerPass;

    /**
     * @param nll mean negative log-likelihood, in nats per predicted token
     * @param perplexity e to the power of nll
     * @param predicted number of tokens that were predicted: all but the first
     */
    public record Score(double nll, double perplexity, int predicted) {}

    public Scorer(Backend backend, Weights weights) {
        this(backend, weights.config(), null);
        try {
            replicas[0].load(weights);
        } catch (RuntimeException e) {
            close.run();
            throw e;
        }
    }

    /** Shares the weights of another model, which was not built for training and must outlive it. */
    public Scorer(Backend backend, LanguageModel sharing) {
        this(backend, sharing.config(), sharing);
    }

    /**
     * Measures a model that is being trained, in the buffers of its replicas, which must outlive this. Each process
     * computes its share of the passes, and gets the same score.
     *
     * @param arena of the replicas
     * @param windows the most sequences of a pass that a replica has buffers for
     */
    public Scorer(Backend backend, Collective collective, Arena arena, LanguageModel[] replicas, int windows) {
        this.backend = backend;
        this.collective = collective;
        this.close = () -> {};
        this.contextLength = replicas[0].config().contextLength();
        this.windowsPerPass = windows;
        this.replicas = replicas;
        this.losses = new Tensor[replicas.length];
        this.lossOps = new CrossEntropyOp[replicas.length];
        allocateLosses(arena);
    }

    private Scorer(Backend backend, ModelConfig config, LanguageModel sharing) {
        Arena arena = backend.newArena();
        this.backend = backend;
        this.collective = Collective.ALONE;
        this.close = arena::close;
        this.contextLength = config.contextLength();
        this.windowsPerPass = Math.max(1, ROWS / contextLength);
        this.replicas = new LanguageModel[backend.workers()];
        this.losses = new Tensor[replicas.length];
        this.lossOps = new CrossEntropyOp[replicas.length];
        try {
            for (int i = 0; i < replicas.length; i++) {
                LanguageModel shared = i == 0 ? sharing : replicas[0];
                replicas[i] = LanguageModel.forEvaluation(config, backend, arena, windowsPerPass, shared);
            }
            allocateLosses(arena);
        } catch (RuntimeException e) {
            close.run();
            throw e;
        }
    }

    private void allocateLosses(Arena arena) {
        for (int i = 0; i < replicas.length; i++) {
            losses[i] = arena.allocate(DType.F32, Shape.of(1));
            lossOps[i] = replicas[i].evaluationLoss(losses[i]);
        }
    }

    /**
     * Scores a text in consecutive windows of T tokens that do not overlap: each predicts the token after each of its
     * own, and sees only tokens of its window.
     *
     * @throws IllegalArgumentException if there are fewer than two tokens
     * @throws ArithmeticException if the loss is no finite number
     */
    public Score score(int[] tokens) {
        double[] sums = new double[passes(tokens)];
        forEachPass(tokens, (replica, pass, from, windows, length) -> {
            LanguageModel model = replicas[replica];
            int to = from + windows * length;
            model.writeTargets(Arrays.copyOfRange(tokens, from + 1, to + 1));
            model.forwardLoss(backend, lossOps[replica], Pass.evaluation(windows, length));
            sums[pass] = losses[replica].toFloats()[0];
        });
        double sum = Arrays.stream(gathered(sums)).sum();
        if (!Double.isFinite(sum)) {
            throw new ArithmeticException(
                    "The model's loss on this text is no finite number: its weights are too large; train it again.");
        }
        int predicted = tokens.length - 1;
        return new Score(sum / predicted, Math.exp(sum / predicted), predicted);
    }

    /** The sums of all passes, of which each process has some. */
    private double[] gathered(double[] sums) {
        ByteBuffer mine = ByteBuffer.allocate(Double.BYTES * sums.length);
        mine.asDoubleBuffer().put(sums);
        List<byte[]> all = collective.gather(mine.array());
        return IntStream.range(0, sums.length)
                .mapToDouble(pass -> ByteBuffer.wrap(all.get(pass % all.size())).getDouble(Double.BYTES * pass))
                .toArray();
    }

    /**
     * The most likely token after each token except the last; of equally likely ones the first. The windows are those
     * of {@link #score}.
     *
     * @throws IllegalArgumentException if there are fewer than two tokens
     */
    public int[] predict(int[] tokens) {
        int[] predicted = new int[Math.max(0, tokens.length - 1)];
        forEachPass(tokens, (replica, pass, from, windows, length) -> {
            LanguageModel model = replicas[replica];
            model.forward(backend, Pass.evaluation(windows, length));
            int vocabSize = model.config().vocabSize();
            float[] logits = new float[windows * length * vocabSize];
            model.logits().read(logits);
            for (int i = 0; i < windows * length; i++) {
                int best = 0;
                for (int v = 1; v < vocabSize; v++) {
                    best = logits[i * vocabSize + v] > logits[i * vocabSize + best] ? v : best;
                }
                predicted[from + i] = best;
            }
        });
        return predicted;
    }

    /**
     * Work on {@code windows} windows of {@code length} tokens, from token {@code from} on, that a replica has loaded.
     */
    @FunctionalInterface
    private interface PassWork {
        void run(int replica, int pass, int from, int windows, int length);
    }

    /** Passes that a text takes: whole windows, many at once, and one for the remainder. */
    private int passes(int[] tokens) {
        int predicted = tokens.length - 1;
        if (predicted < 1) {
            throw new IllegalArgumentException(
                    "A text of " + tokens.length + " characters cannot be scored; give at least two.");
        }
        int whole = predicted / contextLength;
        return (whole + windowsPerPass - 1) / windowsPerPass + (predicted % contextLength > 0 ? 1 : 0);
    }

    private void forEachPass(int[] tokens, PassWork work) {
        int passes = passes(tokens);
        int predicted = tokens.length - 1;
        int whole = predicted / contextLength;
        IntConsumer replica = r -> {
            Rank rank = collective.rank();
            for (int pass = rank.number() + r * rank.size(); pass < passes; pass += replicas.length * rank.size()) {
                int first = pass * windowsPerPass;
                boolean rest = first >= whole;
                int from = Math.min(first, whole) * contextLength;
                int windows = rest ? 1 : Math.min(windowsPerPass, whole - first);
                int length = rest ? predicted - from : contextLength;
                replicas[r].writeTokens(Arrays.copyOfRange(tokens, from, from + windows * length));
                work.run(r, pass, from, windows, length);
            }
        };
        turns.take(() -> {
            replicas[0].roundWeights(); // those of a model that is trained have changed
            backend.parallel(Math.min(replicas.length, passes), replica);
        });
    }

    @Override
    public void close() {
        turns.end(close);
    }
}
