package io.github.drakegpt.report;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.quant.Quantization;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class QuantizationCostTest {
    @TempDir
    Path temp;

    private final List<Path> folders = new ArrayList<>();

    private Path add(String name, Quantization quantization, String schedule, int seed, double valLoss)
            throws IOException {
        ObjectNode config = TestRuns.config(quantization);
        config.withObject("/train").put("schedule", schedule).put("seed", seed);
        Path folder = temp.resolve(name);
        RunFolder.create(folder, config, TestRuns.TOKENIZER);
        TestRuns.write(folder, TestRuns.evaluation(1000, 2, valLoss, null));
        folders.add(folder);
        return folder;
    }

    private static void profile(Path folder, String device, double decodeSpeed) throws IOException {
        Files.writeString(
                folder.resolve(RunFolder.PROFILE),
                "{\"device\":\"" + device + "\",\"speed\":[{\"phase\":\"prefill\",\"batch\":1,\"tokens_per_s\":9},"
                        + "{\"phase\":\"decode\",\"batch\":1,\"tokens_per_s\":" + decodeSpeed + "}]}");
    }

    private List<QuantizationCost> costs() throws IOException {
        return QuantizationCost.of(SeedGroup.of(RunReport.read(folders)));
    }

    @Test
    void aQuantizedRunIsComparedWithTheOneThatDiffersInNothingElse() throws IOException {
        add("other", Quantization.NONE, "cyclic", 42, 1.5);
        Path bits = add("bits", Quantization.B158, "bitnet", 42, 2.0625);
        add("bit", Quantization.BITNET, "bitnet", 42, 1.875);
        Path full = add("full", Quantization.NONE, "bitnet", 42, 2);
        profile(full, "cpu", 1000);
        profile(bits, "cpu", 2500);

        List<QuantizationCost> costs = costs();

        assertThat(costs).extracting(cost -> cost.quantized().name()).containsExactly("bits", "bit");
        assertThat(costs).allSatisfy(cost -> {
            assertThat(cost.full().name()).isEqualTo("full");
            assertThat(cost.differing()).isEmpty();
        });
        double smaller = costs.get(0).timesSmaller();
        RunReport run = costs.get(0).quantized().first();
        assertThat(smaller * run.weightBytes())
                .isEqualTo(costs.get(0).full().first().weightBytes());
        assertThat(costs.get(0).lossDifference()).hasValue(0.0625);
        assertThat(costs.get(0).timesAsFast()).hasValue(2.5);
        assertThat(costs.get(0).sentence())
                .isEqualTo(
                        "TransformerLM-b1.58 (bits): +0.063 nats per character against full precision with the same"
                                + " settings (full), %.1f times smaller, 2.50 times the decode speed.",
                        smaller);
        assertThat(costs.get(1).timesAsFast()).as("not profiled").isEmpty();
        assertThat(costs.get(1).sentence()).contains("-0.125 nats").doesNotContain("speed");
    }

    @Test
    void seedsCountAsTheirMean() throws IOException {
        add("a", Quantization.NONE, "bitnet", 1, 2);
        add("b", Quantization.NONE, "bitnet", 2, 1.5);
        add("c", Quantization.B158, "bitnet", 1, 2);
        add("d", Quantization.B158, "bitnet", 3, 2.5);

        assertThat(costs()).singleElement().satisfies(cost -> {
            assertThat(cost.full().runs()).hasSize(2);
            assertThat(cost.quantized().runs()).hasSize(2);
            assertThat(cost.lossDifference()).hasValue(0.5);
        });
    }

    @Test
    void speedsOfTwoDevicesAreNotCompared() throws IOException {
        profile(add("full", Quantization.NONE, "bitnet", 42, 2), "cpu", 1000);
        profile(add("bits", Quantization.B158, "bitnet", 42, 2), "cuda", 2500);

        assertThat(costs()).extracting(QuantizationCost::timesAsFast).containsExactly(OptionalDouble.empty());
    }

    @Test
    void withoutALikeOneTheNearestIsTakenAndWhatElseDiffersIsSaid() throws IOException {
        add("full", Quantization.NONE, "cyclic", 42, 2.25);
        add("diverged", Quantization.NONE, "bitnet", 42, Double.NaN);
        add("bits", Quantization.B158, "bitnet", 7, 2);

        assertThat(costs()).singleElement().satisfies(cost -> {
            assertThat(cost.differing()).containsExactly("train.schedule");
            assertThat(cost.sentence())
                    .startsWith(
                            "TransformerLM-b1.58 (bits): -0.250 nats per character against full precision with other"
                                    + " settings (full; different train.schedule), ");
        });
    }

    @Test
    void whatCannotBeComparedIsNot() throws IOException {
        add("bits", Quantization.B158, "bitnet", 42, 2);
        assertThat(costs()).isEmpty();

        for (String setting : List.of("/model/embedding_dim", "/data/sha256", "/train/iters")) {
            ObjectNode config = TestRuns.config(Quantization.NONE);
            String[] names = setting.split("/");
            config.withObject("/" + names[1]).put(names[2], 8000); // of iters: it is still trained
            Path folder = temp.resolve(names[2]);
            RunFolder.create(folder, config, TestRuns.TOKENIZER);
            TestRuns.write(folder, TestRuns.evaluation(1000, 2, 2, null));
            folders.add(folder);
        }
        assertThat(costs()).isEmpty();
    }

    @Test
    void packedWeightsHaveTheLossOfTheirProfile() throws IOException {
        add("full", Quantization.NONE, "bitnet", 42, 2);
        float[] trained =
                LanguageModel.parametersOf(TestRuns.model(Quantization.B158)).initialValues(1);
        Path packed = RunFolder.createPacked(
                        temp.resolve("packed"),
                        TestRuns.config(Quantization.B158),
                        TestRuns.TOKENIZER,
                        Weights.of(TestRuns.model(Quantization.B158), trained))
                .path();
        folders.add(packed);
        assertThat(costs()).extracting(QuantizationCost::lossDifference).containsExactly(OptionalDouble.empty());

        Files.writeString(packed.resolve(RunFolder.PROFILE), "{\"device\":\"cpu\",\"val_loss\":2.125}");
        assertThat(costs()).extracting(QuantizationCost::lossDifference).containsExactly(OptionalDouble.of(0.125));
    }
}
