package io.github.drakegpt.model;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.cuda.Gpu;
import io.github.drakegpt.backend.cuda.Simt;
import io.github.drakegpt.checkpoint.Safetensors;
import io.github.drakegpt.checkpoint.StateDict;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Each model against numbers that PyTorch computed in float64 from the same weights: scripts/make_fixtures.py. */
class PyTorchFixtureTest {
    @Nested
    class OnTheCpu extends Fixtures {
        OnTheCpu() {
            super("cpu");
        }
    }

    @Nested
    @Tag("simt")
    class OnSimt extends Fixtures {
        OnSimt() {
            super("simt");
            Simt.build();
        }
    }

    @Nested
    @Tag("gpu")
    class OnAGpu extends Fixtures {
        OnAGpu() {
            super("cuda");
            Gpu.require();
        }
    }

    abstract static class Fixtures {
        private final String device;

        @TempDir
        Path temp;

        Fixtures(String device) {
            this.device = device;
        }

        @ParameterizedTest
        @ValueSource(
                strings = {
                    "BigramLM",
                    "SingleHeadAttentionLM",
                    "MultiHeadAttentionLM",
                    "BlocksLM",
                    "ResidualBlocksLM",
                    "TransformerLM",
                    "TransformerLM-no-final-norm",
                    "TransformerLM-bitnet",
                    "TransformerLM-b1.58"
                })
        void logitsLossGradientsAndThreeAdamWStepsEqualPyTorchs(String fixture) throws Exception {
            Path file = temp.resolve("fixture");
            try (InputStream in =
                    PyTorchFixtureTest.class.getResourceAsStream("/fixtures/" + fixture + ".safetensors")) {
                Files.copy(in, file);
            }
            assertEqualsPyTorch(device, Safetensors.read(file));
        }
    }

    private static void assertEqualsPyTorch(String device, Safetensors file) throws Exception {
        ObjectMapper json = new ObjectMapper();
        ObjectNode settings = (ObjectNode) json.readTree(file.metadata().get("config"));
        boolean quantized = !settings.path("quant").asText("none").equals("none");
        settings.put("init", "pytorch").put("sub_norm", quantized);
        ModelConfig config = json.treeToValue(settings, ModelConfig.class);
        JsonNode learningRates = json.readTree(file.metadata().get("lr"));
        Shape tokenShape = file.shape("tokens"); // (3, B, T)
        int batch = tokenShape.dim(1);
        int rows = batch * tokenShape.dim(2);
        int[] tokens = file.readInts("tokens", tokenShape);
        int[] targets = file.readInts("targets", tokenShape);
        Pass pass = Pass.training(batch, config.contextLength(), 0);

        try (Backend backend = Backends.create(device, 1);
                Arena arena = backend.newArena()) {
            Tensor step = arena.allocate(DType.I32, Shape.of(1));
            LanguageModel model = LanguageModel.forTraining(
                    config, backend, arena, batch, new LayerContext.Training(0, step, null), null);
            Parameters parameters = model.parameters();
            model.setWeights(StateDict.read(file, parameters, "weights."));

            load(model, tokens, targets, 0, rows);
            model.roundWeights();
            model.forward(backend, pass);
            float[] expectedLogits = floats(file, "logits");
            assertClose("logits", model.logits().toFloats(), expectedLogits, 0, 1e-5);
            LanguageModel inference = LanguageModel.forEvaluation(config, backend, arena, batch, null);
            inference.load(Weights.of(config, model.weights().toFloats()));
            load(inference, tokens, targets, 0, rows);
            inference.forward(backend, Pass.evaluation(batch, config.contextLength()));
            assertClose("logits of packed weights", inference.logits().toFloats(), expectedLogits, 0, 1e-5);

            Tensor loss = arena.allocate(DType.F32, Shape.of(1));
            CrossEntropyOp trainingLoss = model.trainingLoss(loss, 1f / rows);
            Tensor moments = arena.allocate(DType.F32, model.weights().shape());
            Tensor squares = arena.allocate(DType.F32, model.weights().shape());
            Tensor learningRate = arena.allocate(DType.F32, Shape.of(1));
            Tensor norm = arena.allocate(DType.F32, Shape.of(1));
            AdamWOp.State state = new AdamWOp.State(model.weights(), model.weights(), model.grads(), moments, squares);
            AdamWSettings adamWSettings = new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.01f, 0);
            AdamWOp adamW = new AdamWOp(state, learningRate, step, norm, adamWSettings);
            for (int i = 0; i < learningRates.size(); i++) {
                load(model, tokens, targets, i * rows, rows);
                model.roundWeights();
                model.forwardBackward(backend, trainingLoss, pass);
                if (i == 0) {
                    float expectedLoss = floats(file, "loss")[0];
                    assertThat((double) loss.toFloats()[0] / rows)
                            .isCloseTo(expectedLoss, org.assertj.core.data.Offset.offset(1e-5 * expectedLoss));
                    assertEntries(file, parameters, "grad.", model.grads().toFloats(), 1e-4);
                }
                step.write(i + 1);
                learningRate.write((float) learningRates.get(i).asDouble());
                backend.adamW(adamW);
            }
            assertEntries(file, parameters, "after3.", model.weights().toFloats(), 1e-4);
        }
    }

    private static void load(LanguageModel model, int[] tokens, int[] targets, int from, int rows) {
        model.tokens().write(Arrays.copyOfRange(tokens, from, from + rows));
        model.targets().write(Arrays.copyOfRange(targets, from, from + rows));
    }

    private static float[] floats(Safetensors file, String name) throws Exception {
        float[] values = new float[(int) file.shape(name).size()];
        file.read(name, file.shape(name), values, 0);
        return values;
    }

    private static void assertEntries(
            Safetensors file, Parameters parameters, String prefix, float[] flat, double tolerance) throws Exception {
        for (Parameters.Entry entry : parameters.entries()) {
            float[] expected = floats(file, prefix + entry.name());
            assertThat(entry.shape()).isEqualTo(file.shape(prefix + entry.name()));
            assertClose(prefix + entry.name(), flat, expected, (int) entry.offset(), tolerance);
        }
    }

    /** Differences are measured against the tensor's largest value, since single ones may be zero by cancellation. */
    private static void assertClose(String name, float[] actual, float[] expected, int offset, double tolerance) {
        double largest = 0;
        double difference = 0;
        for (int i = 0; i < expected.length; i++) {
            largest = Math.max(largest, Math.abs(expected[i]));
            double d = Math.abs((double) actual[offset + i] - expected[i]);
            difference = d > difference || Double.isNaN(d) ? d : difference;
        }
        assertThat(difference)
                .as("%s, whose largest value is %s", name, largest)
                .isLessThanOrEqualTo(tolerance * largest);
        assertThat(largest).as(name).isPositive();
    }
}
