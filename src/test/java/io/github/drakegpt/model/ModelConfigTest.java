package io.github.drakegpt.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.ValueSource;

class ModelConfigTest {
    static final List<String> NAMES = Models.NAMES;

    // ---------------------------------------------------------------------------------------------- sizes

    @ParameterizedTest
    @CsvSource({
        "BigramLM, 6400",
        "SingleHeadAttentionLM, 8528",
        "MultiHeadAttentionLM, 8528",
        "BlocksLM, 17840",
        "ResidualBlocksLM, 42896",
        "TransformerLM, 43344"
    })
    void theDefaultModelsHaveAsManyParametersAsDrakeGptsWith80Characters(String name, int parameters)
            throws IOException {
        assertThat(parameters(defaultConfig(name, 80)).count()).isEqualTo(parameters);
    }

    @Test
    void aNormThatIsNotAppliedIsNotCounted() throws IOException {
        ModelConfig with = defaultConfig(Models.TRANSFORMER, 80);
        ModelConfig without = new ModelConfig(
                Models.TRANSFORMER, 80, 8, 32, 32, 4, 3, 0.1f, false, Init.PYTORCH, Quantization.NONE, false);

        assertThat(parameters(without).count()).isEqualTo(parameters(with).count() - 2 * 32);
    }

    @Test
    void theNamesAreListedInTheOrderOfTheStory() {
        assertThat(Models.NAMES)
                .containsExactly(
                        "BigramLM",
                        "SingleHeadAttentionLM",
                        "MultiHeadAttentionLM",
                        "BlocksLM",
                        "ResidualBlocksLM",
                        "TransformerLM");
    }

    // ---------------------------------------------------------------------------------------------- settings

    @Test
    void refusesAnUnknownModelAndListsTheKnownOnes() {
        for (String name : new String[] {"GPT", "bigramlm", "", null}) {
            assertRefused(
                    () -> new ModelConfig(name, 10, 8, 8, 8, 2, 1, 0, true, Init.PYTORCH, Quantization.NONE, false),
                    "There is no model '" + name + "'; choose one of BigramLM, SingleHeadAttentionLM, "
                            + "MultiHeadAttentionLM, BlocksLM, ResidualBlocksLM, TransformerLM.");
        }
    }

    @ParameterizedTest
    @CsvSource({
        "0, vocab_size",
        "1, context_length",
        "2, embedding_dim",
        "3, head_size",
        "4, num_heads",
        "5, num_layers"
    })
    void refusesSizesThatNoModelHas(int place, String key) {
        for (int value : new int[] {0, -1, Integer.MIN_VALUE, 65537, 2_000_000_000, Integer.MAX_VALUE}) {
            int[] sizes = {10, 8, 8, 8, 2, 1};
            sizes[place] = value;
            assertThatThrownBy(() -> sized(Models.TRANSFORMER, sizes))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageStartingWith("model." + key + " is " + value + "; set it to a number from 1 to ");
        }
    }

    /** The largest sizes are counted before anything is allocated. */
    @Test
    void refusesMoreWeightsThanAnArrayHolds() {
        ModelConfig largest = sized(Models.TRANSFORMER, 1 << 16, 1 << 15, 1 << 16, 1 << 16, 1 << 10, 1 << 10);
        assertThatThrownBy(() -> LanguageModel.parametersOf(largest))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageMatching("The model would have \\d{14} weights, of which 2147483647 are possible; lower"
                        + " model.embedding_dim or model.num_layers.");
    }

    @ParameterizedTest
    @ValueSource(floats = {-0.1f, 1, 1.5f, Float.NaN, Float.POSITIVE_INFINITY, -Float.MIN_VALUE})
    void refusesADropoutThatIsNoProbabilityBelowOne(float dropout) {
        assertRefused(
                () -> new ModelConfig(
                        Models.BIGRAM, 10, 8, 8, 8, 2, 1, dropout, true, Init.PYTORCH, Quantization.NONE, false),
                "model.dropout is " + dropout + "; set it to a probability from 0 up to, but not, 1.");
    }

    @Test
    void refusesAMissingInit() {
        assertRefused(
                () -> new ModelConfig(Models.BIGRAM, 10, 8, 8, 8, 2, 1, 0, true, null, Quantization.NONE, false),
                "model.init is missing; set it to pytorch or gpt2.");
    }

    @Test
    void refusesHeadsThatDoNotShareTheirChannelsEvenly() {
        assertRefused(
                () -> sized(Models.MULTI_HEAD, 10, 8, 8, 10, 4, 1),
                "model.head_size (10) cannot be divided among model.num_heads (4); set one of them to fit.");
        for (String name : new String[] {Models.BLOCKS, Models.RESIDUAL_BLOCKS, Models.TRANSFORMER}) {
            assertRefused(
                    () -> sized(name, 10, 8, 10, 8, 4, 1),
                    "model.embedding_dim (10) cannot be divided among model.num_heads (4); set one of them to fit.");
        }
    }

    @Test
    void settingsThatAModelDoesNotUseNeedNotFit() {
        assertThatCode(() -> sized(Models.BIGRAM, 10, 8, 7, 7, 4, 1)).doesNotThrowAnyException();
        assertThatCode(() -> sized(Models.SINGLE_HEAD, 10, 8, 7, 7, 4, 1)).doesNotThrowAnyException();
        assertThatCode(() -> sized(Models.MULTI_HEAD, 10, 8, 7, 8, 4, 1)).doesNotThrowAnyException();
        assertThatCode(() -> sized(Models.TRANSFORMER, 10, 8, 8, 7, 4, 1)).doesNotThrowAnyException();
    }

    // ---------------------------------------------------------------------------------------------- initial values

    @ParameterizedTest
    @FieldSource("NAMES")
    void pytorchInitialValuesFollowPyTorchsDefaults(String name) {
        Parameters parameters = parameters(wide(name, Init.PYTORCH, 0));
        float[] values = parameters.initialValues(42);
        for (Parameters.Entry entry : parameters.entries()) {
            float[] part = part(values, entry);
            if (entry.name().contains("embedding_table")) {
                assertNormal(entry.name(), part, 1);
            } else if (isNorm(entry.name())) {
                assertThat(part).as(entry.name()).containsOnly(entry.name().endsWith("weight") ? 1 : 0);
            } else {
                assertUniform(entry.name(), part, 1 / Math.sqrt(inputs(parameters, entry)));
            }
        }
    }

    @ParameterizedTest
    @FieldSource("NAMES")
    void gpt2InitialValuesFollowGpt2(String name) {
        Parameters parameters = parameters(wide(name, Init.GPT2, 0));
        float[] values = parameters.initialValues(42);
        for (Parameters.Entry entry : parameters.entries()) {
            float[] part = part(values, entry);
            if (isNorm(entry.name())) {
                assertThat(part).as(entry.name()).containsOnly(entry.name().endsWith("weight") ? 1 : 0);
            } else if (entry.name().endsWith("bias")) {
                assertThat(part).as(entry.name()).containsOnly(0);
            } else if (entry.name().endsWith("proj.weight") || entry.name().endsWith("net.2.weight")) {
                assertNormal(entry.name(), part, 0.02 / Math.sqrt(2 * 2)); // two layers
            } else {
                assertNormal(entry.name(), part, 0.02);
            }
        }
    }

    @Test
    void theTransformersResidualBranchesEndInLayersOfTheirOwnSpread() {
        // or the test above could miss that none of them is there
        assertThat(parameters(wide(Models.TRANSFORMER, Init.GPT2, 0)).entries())
                .extracting(Parameters.Entry::name)
                .contains("blocks.0.sa_head.proj.weight", "blocks.1.ffwd.net.2.weight");
    }

    @ParameterizedTest
    @EnumSource(Init.class)
    void initialValuesDependOnTheSeedAlone(Init init) {
        float[] values = parameters(wide(Models.TRANSFORMER, init, 0)).initialValues(42);

        assertThat(parameters(wide(Models.TRANSFORMER, init, 0)).initialValues(42))
                .containsExactly(values);
        assertThat(parametersForTraining(wide(Models.TRANSFORMER, init, 0.5f)).initialValues(42))
                .containsExactly(values);
    }

    @Test
    void everyValueIsADifferentOneForAnotherSeed() {
        Parameters parameters = parameters(wide(Models.BLOCKS, Init.PYTORCH, 0));
        for (long other : new long[] {43, 42 + (1L << 32), -42, 0}) {
            float[] a = parameters.initialValues(42);
            float[] b = parameters.initialValues(other);
            long equal = 0;
            for (Parameters.Entry entry : parameters.entries()) {
                float[] x = part(a, entry);
                float[] y = part(b, entry);
                equal += IntStream.range(0, x.length)
                        .filter(i -> Math.abs(x[i] - y[i]) < 1e-9)
                        .count();
            }
            assertThat(equal).as("values that seeds 42 and %s share", other).isLessThan(10);
        }
    }

    @Test
    void noTwoWeightsOfALayerAreTheSame() {
        Parameters parameters = parameters(wide(Models.BIGRAM, Init.PYTORCH, 0));
        float[] table = part(parameters.initialValues(7), parameters.entries().get(0));

        // of 6400 normal floats a few may collide
        assertThat(IntStream.range(0, table.length)
                        .mapToObj(i -> table[i])
                        .distinct()
                        .count())
                .isGreaterThan(table.length - 20);
    }

    @Test
    void whatLiesBetweenParametersIsZero() {
        Parameters parameters = parameters(
                new ModelConfig(Models.BLOCKS, 7, 3, 5, 5, 1, 2, 0, true, Init.PYTORCH, Quantization.NONE, false));
        float[] values = parameters.initialValues(42);
        for (Parameters.Entry entry : parameters.entries()) {
            int from = (int) entry.offset();
            Arrays.fill(values, from, from + (int) entry.shape().size(), 0);
        }

        assertThat(parameters.size()).isGreaterThan(parameters.count());
        assertThat(values).containsOnly(0);
    }

    // ---------------------------------------------------------------------------------------------- helpers

    private static ModelConfig defaultConfig(String name, int vocabulary) throws IOException {
        ObjectMapper yaml = new ObjectMapper(new YAMLFactory());
        try (InputStream in = ModelConfig.class.getResourceAsStream("/config/default.yaml")) {
            ObjectNode model = (ObjectNode) yaml.readTree(in).get("model");
            return yaml.treeToValue(model.put("name", name).put("vocab_size", vocabulary), ModelConfig.class);
        }
    }

    private static ModelConfig sized(String name, int... sizes) {
        return new ModelConfig(
                name,
                sizes[0],
                sizes[1],
                sizes[2],
                sizes[3],
                sizes[4],
                sizes[5],
                0,
                true,
                Init.PYTORCH,
                Quantization.NONE,
                false);
    }

    /** Wide enough for statistics. */
    private static ModelConfig wide(String name, Init init, float dropout) {
        return new ModelConfig(name, 80, 24, 64, 64, 2, 2, dropout, true, init, Quantization.NONE, false);
    }

    private static Parameters parameters(ModelConfig config) {
        return LanguageModel.parametersOf(config);
    }

    private static Parameters parametersForTraining(ModelConfig config) {
        try (Backend backend = Backends.create("cpu", 2);
                Arena arena = backend.newArena()) {
            return LanguageModel.forTraining(
                            config,
                            backend,
                            arena,
                            3,
                            new LayerContext.Training(99, arena.allocate(DType.I32, Shape.of(1)), null),
                            null)
                    .parameters();
        }
    }

    private static boolean isNorm(String name) {
        return name.matches(".*\\bln(1|2|_f)\\..*");
    }

    /** Inputs of the linear layer that a weight or bias belongs to. */
    private static int inputs(Parameters parameters, Parameters.Entry entry) {
        String weight = entry.name().replaceAll("bias$", "weight");
        return parameters.entries().stream()
                .filter(other -> other.name().equals(weight))
                .findFirst()
                .orElseThrow()
                .shape()
                .dim(1);
    }

    private static float[] part(float[] values, Parameters.Entry entry) {
        int from = (int) entry.offset();
        return Arrays.copyOfRange(values, from, from + (int) entry.shape().size());
    }

    /** Mean, standard deviation, and the share within one of it, each within five of its own standard deviations. */
    private static void assertNormal(String name, float[] values, double std) {
        double n = values.length;
        assertThat(mean(values)).as(name).isCloseTo(0, within(5 * std / Math.sqrt(n)));
        assertThat(deviation(values)).as(name).isCloseTo(std, within(5 * std / Math.sqrt(2 * n)));
        assertThat(share(values, std)).as(name).isCloseTo(0.6827, within(5 * 0.4655 / Math.sqrt(n)));
        assertThat(share(values, 6 * std)).as(name).isEqualTo(1);
    }

    private static void assertUniform(String name, float[] values, double bound) {
        double n = values.length;
        double std = bound / Math.sqrt(3);
        assertThat(mean(values)).as(name).isCloseTo(0, within(5 * std / Math.sqrt(n)));
        assertThat(deviation(values))
                .as(name)
                .isCloseTo(std, within(5 * bound * bound * Math.sqrt(4 / 45.0 / n) / (2 * std)));
        assertThat(share(values, bound / 2)).as(name).isCloseTo(0.5, within(5 * 0.5 / Math.sqrt(n)));
        assertThat(share(values, bound * 1.000001)).as(name).isEqualTo(1);
        assertThat(share(values, bound * (1 - 10 / n))).as(name).isLessThan(1);
    }

    private static double mean(float[] values) {
        return IntStream.range(0, values.length)
                .mapToDouble(i -> values[i])
                .average()
                .orElseThrow();
    }

    private static double deviation(float[] values) {
        return Math.sqrt(IntStream.range(0, values.length)
                .mapToDouble(i -> (double) values[i] * values[i])
                .average()
                .orElseThrow());
    }

    private static double share(float[] values, double bound) {
        return (double) IntStream.range(0, values.length)
                        .filter(i -> Math.abs(values[i]) <= bound)
                        .count()
                / values.length;
    }

    private static void assertRefused(ThrowingCallable call, String sentence) {
        assertThatIllegalArgumentException().isThrownBy(call).withMessage(sentence);
    }
}
