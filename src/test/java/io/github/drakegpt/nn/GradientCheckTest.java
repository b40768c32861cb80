package io.github.drakegpt.nn;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.assertj.core.data.Offset;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The gradient of every weight of every model, in two steps: the float64 gradients of {@link ReferenceModels} against
 * central differences of their losses, and the models' own against those. float32 losses are too coarse for differences.
 */
class GradientCheckTest {
    private static final long SEED = 0x1234_5678_9ABC_DEF0L;
    private static final int STEP = 5;
    private static final long FIRST_SEQUENCE = 3;
    private static final int BATCH = 3;
    /**
     * Errors of the differences: h^4 from cutting the series off, 1e-15 / h from rounding, and a ReLU whose input is
     * less than 2h away from 0 spoils them altogether.
     */
    private static final double H = 3e-5;

    static Stream<ModelConfig> tinyModels() {
        return models(7, 5, 6, 4, 2, 2);
    }

    /** Large enough for the CPU's attention to use matrix products. */
    static Stream<ModelConfig> smallModels() {
        return models(80, 33, 24, 16, 4, 2);
    }

    private static Stream<ModelConfig> models(int v, int t, int c, int headSize, int heads, int layers) {
        List<ModelConfig> configs = new ArrayList<>();
        for (Init init : Init.values()) {
            for (String name : Models.NAMES) {
                configs.add(new ModelConfig(
                        name, v, t, c, headSize, heads, layers, 0.25f, true, init, Quantization.NONE, false));
            }
            configs.add(new ModelConfig(
                    Models.TRANSFORMER,
                    v,
                    t,
                    c,
                    headSize,
                    heads,
                    layers,
                    0.25f,
                    false,
                    init,
                    Quantization.NONE,
                    false));
            configs.add(new ModelConfig(
                    Models.TRANSFORMER, v, t, c, headSize, heads, layers, 0, true, init, Quantization.NONE, false));
        }
        return configs.stream();
    }

    @ParameterizedTest
    @MethodSource("tinyModels")
    void referenceGradientsEqualCentralDifferences(ModelConfig config) {
        int rows = BATCH * config.contextLength();
        int[] tokens = tokens(config, rows, 1);
        int[] targets = tokens(config, rows, 2);
        Map<String, double[]> weights = new LinkedHashMap<>();
        try (Backend backend = Backends.create("cpu", 1);
                Arena arena = backend.newArena()) {
            LanguageModel model = build(config, backend, arena);
            weights.putAll(byName(model.parameters(), model.weights().toFloats()));
        }
        if (config.init() == Init.GPT2) {
            // As they are, some gradients would be smaller than the rounding of the loss.
            weights.values()
                    .forEach(values -> Arrays.setAll(values, i -> Math.abs(values[i]) < 1 ? 25 * values[i] : 1));
        }
        Map<String, double[]> grads = run(config, weights, tokens, targets).grads();
        weights.forEach((name, values) -> {
            double[] differences = new double[values.length];
            for (int i = 0; i < values.length; i++) {
                double value = values[i];
                double[] losses = new double[4];
                double[] steps = {-2 * H, -H, H, 2 * H};
                for (int s = 0; s < 4; s++) {
                    values[i] = value + steps[s];
                    losses[s] = ReferenceModels.loss(config, weights, tokens, targets, FIRST_SEQUENCE, SEED, STEP);
                }
                values[i] = value;
                differences[i] = (8 * (losses[2] - losses[1]) - (losses[3] - losses[0])) / (12 * H);
            }
            assertClose(name, grads.get(name), differences, 1e-6);
        });
    }

    @ParameterizedTest
    @MethodSource({"tinyModels", "smallModels"})
    void gradientsEqualTheReference(ModelConfig config) {
        int rows = BATCH * config.contextLength();
        int[] tokens = tokens(config, rows, 1);
        int[] targets = tokens(config, rows, 2);
        try (Backend backend = Backends.create("cpu", 1);
                Arena arena = backend.newArena()) {
            LanguageModel model = build(config, backend, arena);
            Tensor loss = arena.allocate(DType.F32, Shape.of(1));
            // A pass over something else first: what it leaves in the buffers must not show.
            Pass pass = Pass.training(BATCH, config.contextLength(), FIRST_SEQUENCE);
            model.tokens().write(targets);
            model.targets().write(tokens);
            model.forwardBackward(backend, model.trainingLoss(loss, 1), pass);

            model.tokens().write(tokens);
            model.targets().write(targets);
            float[] poison = new float[(int) model.grads().size()];
            Arrays.fill(poison, Float.NaN);
            model.grads().write(poison);
            model.forwardBackward(backend, model.trainingLoss(loss, 1f / rows), pass);

            Map<String, double[]> weights =
                    byName(model.parameters(), model.weights().toFloats());
            ReferenceModels.Result expected = run(config, weights, tokens, targets);
            assertThat((double) loss.toFloats()[0]).isCloseTo(expected.loss(), Offset.offset(1e-5 * expected.loss()));
            Map<String, double[]> grads =
                    byName(model.parameters(), model.grads().toFloats());
            assertThat(grads.keySet()).isEqualTo(expected.grads().keySet());
            expected.grads().forEach((name, values) -> {
                double[] mean = Arrays.stream(values).map(value -> value / rows).toArray();
                assertClose(name, grads.get(name), mean, 1e-4);
            });
        }
    }

    private static LanguageModel build(ModelConfig config, Backend backend, Arena arena) {
        Tensor step = arena.allocate(DType.I32, Shape.of(1));
        step.write(STEP);
        LanguageModel model = LanguageModel.forTraining(
                config, backend, arena, BATCH, new LayerContext.Training(SEED, step, null), null);
        model.setWeights(model.parameters().initialValues(SEED));
        return model;
    }

    private static ReferenceModels.Result run(
            ModelConfig config, Map<String, double[]> weights, int[] tokens, int[] targets) {
        return ReferenceModels.forwardBackward(config, weights, tokens, targets, FIRST_SEQUENCE, SEED, STEP);
    }

    private static int[] tokens(ModelConfig config, int n, long seed) {
        return new Random(seed).ints(n, 0, config.vocabSize()).toArray();
    }

    private static Map<String, double[]> byName(Parameters parameters, float[] flat) {
        Map<String, double[]> values = new LinkedHashMap<>();
        for (Parameters.Entry entry : parameters.entries()) {
            double[] part = new double[(int) entry.shape().size()];
            Arrays.setAll(part, i -> flat[(int) entry.offset() + i]);
            values.put(entry.name(), part);
        }
        return values;
    }

    /** Against the tensor's largest value, since single ones may be zero by cancellation; none has only zeros. */
    private static void assertClose(String name, double[] actual, double[] expected, double tolerance) {
        double largest = Arrays.stream(expected).map(Math::abs).max().orElseThrow();
        assertThat(largest).as(name).isPositive();
        for (int i = 0; i < expected.length; i++) {
            assertThat(actual[i])
                    .as("%s[%d], largest %s", name, i, largest)
                    .isCloseTo(expected[i], Offset.offset(tolerance * largest));
        }
    }
}
