package io.github.drakegpt.nn;

import io.github.drakegpt.backend.ReferenceOperations;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.ops.RandomStream;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * The six models in float64, out of {@link ReferenceOperations}, with weights by their names in the state_dict. Each
 * operation of a forward pass leaves behind how to go back through it.
 */
final class ReferenceModels {
    private final ModelConfig config;
    private final Map<String, double[]> weights;
    private final int[] tokens;
    private final int[] targets;
    private final int batch;
    private final long firstSequence;
    private final long seed;
    private final long step;

    private final Map<String, double[]> grads = new HashMap<>();
    private final Deque<Runnable> backward = new ArrayDeque<>();

    /** Values and the gradient of the loss with respect to them. */
    private record Variable(double[] value, double[] grad) {
        Variable(double[] value) {
            this(value, new double[value.length]);
        }
    }

    /** @param loss the sum over all tokens, in nats */
    record Result(double loss, Map<String, double[]> grads) {}

    private ReferenceModels(
            ModelConfig config,
            Map<String, double[]> weights,
            int[] tokens,
            int[] targets,
            long firstSequence,
            long seed,
            long step) {
        this.config = config;
        this.weights = weights;
        this.tokens = tokens;
        this.targets = targets;
        this.batch = tokens.length / config.contextLength();
        this.firstSequence = firstSequence;
        this.seed = seed;
        this.step = step;
        weights.forEach((name, values) -> grads.put(name, new double[values.length]));
    }

    /** The loss of sequences of the full context, and its gradient for every weight. */
    static Result forwardBackward(
            ModelConfig config,
            Map<String, double[]> weights,
            int[] tokens,
            int[] targets,
            long firstSequence,
            long seed,
            long step) {
        ReferenceModels model = new ReferenceModels(config, weights, tokens, targets, firstSequence, seed, step);
        Variable logits = model.logits();
        ReferenceOperations.CrossEntropy loss = model.loss(logits);
        add(logits.grad, loss.dlogits());
        while (!model.backward.isEmpty()) {
            model.backward.pop().run();
        }
        return new Result(loss.loss(), model.grads);
    }

    /** The loss alone. */
    static double loss(
            ModelConfig config,
            Map<String, double[]> weights,
            int[] tokens,
            int[] targets,
            long firstSequence,
            long seed,
            long step) {
        ReferenceModels model = new ReferenceModels(config, weights, tokens, targets, firstSequence, seed, step);
        return model.loss(model.logits()).loss();
    }

    private ReferenceOperations.CrossEntropy loss(Variable logits) {
        return ReferenceOperations.crossEntropy(logits.value, targets, 1, tokens.length, config.vocabSize());
    }

    private Variable logits() {
        int width = config.embeddingDim();
        switch (config.name()) {
            case Models.BIGRAM:
                return embedding(config.vocabSize(), false);
            case Models.SINGLE_HEAD:
                return linear(attention(embedding(width, true), List.of("sa_head"), config.headSize(), -1), "lm_head");
            case Models.MULTI_HEAD:
                return linear(attention(embedding(width, true), "sa_head", config.headSize(), -1), "lm_head");
            default:
        }
        Variable x = embedding(width, true);
        for (int i = 0; i < config.numLayers(); i++) {
            String block = "blocks." + i;
            int dropouts = 3 * i; // after the weights of attention, the projection and the MLP of the blocks before
            x = switch (config.name()) {
                case Models.BLOCKS -> relu(linear(attention(x, block + ".sa_head", width, -1), block + ".ffwd.net.0"));
                case Models.RESIDUAL_BLOCKS -> {
                    Variable y = projectedAttention(x, block, -1);
                    Variable middle = residual(x, y, -1);
                    yield residual(middle, mlp(middle, block), -1);
                }
                case Models.TRANSFORMER -> {
                    Variable y = projectedAttention(layerNorm(x, block + ".ln1"), block, dropouts);
                    Variable middle = residual(x, y, dropouts + 1);
                    yield residual(middle, mlp(layerNorm(middle, block + ".ln2"), block), dropouts + 2);
                }
                default -> throw new IllegalArgumentException(config.name());
            };
        }
        boolean norm = config.name().equals(Models.TRANSFORMER) && config.finalNorm();
        return linear(norm ? layerNorm(x, "ln_f") : x, "lm_head");
    }

    private Variable projectedAttention(Variable x, String block, int dropout) {
        return linear(attention(x, block + ".sa_head", config.embeddingDim(), dropout), block + ".sa_head.proj");
    }

    private Variable mlp(Variable x, String block) {
        return linear(relu(linear(x, block + ".ffwd.net.0")), block + ".ffwd.net.2");
    }

    private Variable embedding(int width, boolean positions) {
        String wte = "token_embedding_table.weight";
        String wpe = "position_embedding_table.weight";
        int t = config.contextLength();
        Variable out = new Variable(ReferenceOperations.embedding(
                tokens, weights.get(wte), positions ? weights.get(wpe) : null, t, width, 0));
        backward.push(() -> {
            ReferenceOperations.EmbeddingGrad grad =
                    ReferenceOperations.embeddingGrad(tokens, out.grad, config.vocabSize(), t, t, width);
            add(grads.get(wte), grad.dwte());
            if (positions) {
                add(grads.get(wpe), grad.dwpe());
            }
        });
        return out;
    }

    private Variable linear(Variable x, String name) {
        double[] w = weights.get(name + ".weight");
        double[] bias = weights.get(name + ".bias");
        int in = x.value.length / tokens.length;
        Variable y = new Variable(ReferenceOperations.linear(x.value, w, bias, false, in));
        backward.push(() -> {
            ReferenceOperations.LinearGrad grad =
                    ReferenceOperations.linearGrad(x.value, w, y.grad, tokens.length, in, bias.length);
            add(x.grad, grad.dx());
            add(grads.get(name + ".weight"), grad.dw());
            add(grads.get(name + ".bias"), grad.dbias());
        });
        return y;
    }

    private Variable relu(Variable x) {
        Variable y = new Variable(IntStream.range(0, x.value.length)
                .mapToDouble(i -> Math.max(x.value[i], 0))
                .toArray());
        backward.push(() -> add(x.grad, ReferenceOperations.reluGrad(y.value, y.grad)));
        return y;
    }

    private Variable layerNorm(Variable x, String name) {
        double[] weight = weights.get(name + ".weight");
        int c = weight.length;
        Variable y = new Variable(
                ReferenceOperations.layerNorm(x.value, weight, weights.get(name + ".bias"), tokens.length, c)
                        .out());
        backward.push(() -> {
            ReferenceOperations.LayerNormGrad grad =
                    ReferenceOperations.layerNormGrad(x.value, weight, y.grad, tokens.length, c);
            add(x.grad, grad.dx());
            add(grads.get(name + ".weight"), grad.dweight());
            add(grads.get(name + ".bias"), grad.dbias());
        });
        return y;
    }

    /** @param dropout which of the model's dropouts follows the branch, or -1 */
    private Variable residual(Variable x, Variable branch, int dropout) {
        int n = x.value.length;
        double[] mask = mask(dropout, firstSequence * (n / batch), n);
        Variable sum = new Variable(ReferenceOperations.residual(x.value, branch.value, new double[1], mask));
        backward.push(() -> {
            add(x.grad, sum.grad);
            add(branch.grad, ReferenceOperations.residualGrad(sum.grad, mask));
        });
        return sum;
    }

    private Variable attention(Variable x, String name, int width, int dropout) {
        List<String> heads = IntStream.range(0, config.numHeads())
                .mapToObj(h -> name + ".heads." + h)
                .toList();
        return attention(x, heads, width, dropout);
    }

    /** Heads whose outputs lie side by side, each with its own weights for queries, keys and values. */
    private Variable attention(Variable x, List<String> heads, int width, int dropout) {
        int t = config.contextLength();
        int headSize = width / heads.size();
        int in = x.value.length / tokens.length;
        List<String> names = Stream.of(".query.weight", ".key.weight", ".value.weight")
                .flatMap(part -> heads.stream().map(head -> head + part))
                .toList();
        double[] merged = names.stream()
                .flatMapToDouble(name -> Arrays.stream(weights.get(name)))
                .toArray();
        double[] qkv = ReferenceOperations.linear(x.value, merged, null, false, in);
        int perSequence = heads.size() * t * t;
        double[] mask = mask(dropout, firstSequence * perSequence, batch * perSequence);
        Variable out = new Variable(
                ReferenceOperations.attention(qkv, mask, batch, t, heads.size()).out());
        backward.push(() -> {
            double[] dqkv = ReferenceOperations.attentionGrad(qkv, out.grad, mask, batch, t, heads.size());
            ReferenceOperations.LinearGrad grad =
                    ReferenceOperations.linearGrad(x.value, merged, dqkv, tokens.length, in, 3 * width);
            add(x.grad, grad.dx());
            int each = headSize * in;
            for (int i = 0; i < names.size(); i++) {
                add(grads.get(names.get(i)), Arrays.copyOfRange(grad.dw(), i * each, (i + 1) * each));
            }
        });
        return out;
    }

    private double[] mask(int dropout, long first, int n) {
        return dropout < 0
                ? null
                : ReferenceOperations.dropoutMask(
                        config.dropout(), seed, RandomStream.dropout(dropout), step, first, n);
    }

    private static void add(double[] sum, double[] values) {
        for (int i = 0; i < sum.length; i++) {
            sum[i] += values[i];
        }
    }
}
