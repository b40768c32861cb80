package io.github.drakegpt.report;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.checkpoint.RunFolder;
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
        return QuantizationCost.of(RunReport.read(folders));
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

        assertThat(costs).extracting(cost -> cost.quantized().get(0).name()).containsExactly("bits", "bit");
        assertThat(costs)
                .allSatisfy(cost ->
                        assertThat(cost.full()).extracting(RunReport::name).containsExactly("full"));
        double smaller = costs.get(0).timesSmaller();
        RunReport run = costs.get(0).quantized().get(0);
        assertThat(smaller * run.weightBytes())
                .isEqualTo(costs.get(0).full().get(0).weightBytes());
        assertThat(costs.get(0).lossDifference()).isEqualTo(0.0625);
        assertThat(costs.get(0).timesAsFast()).hasValue(2.5);
        assertThat(costs.get(0).sentence())
                .isEqualTo(
                        "TransformerLM-b1.58: +0.063 nats per character against full precision with the same settings"
                                + " (full), %.1f times smaller, 2.50 times the decode speed.",
                        smaller);
        assertThat(costs.get(1).timesAsFast()).as("not profiled").isEmpty();
        assertThat(costs.get(1).sentence()).contains("-0.125 nats").endsWith(" times smaller.");
    }

    @Test
    void seedsCountAsTheirMean() throws IOException {
        add("a", Quantization.NONE, "bitnet", 1, 2);
        add("b", Quantization.NONE, "bitnet", 2, 1.5);
        add("c", Quantization.B158, "bitnet", 1, 2);
        add("d", Quantization.B158, "bitnet", 3, 2.5);

        assertThat(costs()).singleElement().satisfies(cost -> {
            assertThat(cost.full()).hasSize(2);
            assertThat(cost.quantized()).hasSize(2);
            assertThat(cost.lossDifference()).isEqualTo(0.5);
        });
    }

    @Test
    void speedsOfTwoDevicesAreNotCompared() throws IOException {
        profile(add("full", Quantization.NONE, "bitnet", 42, 2), "cpu", 1000);
        profile(add("bits", Quantization.B158, "bitnet", 42, 2), "cuda", 2500);

        assertThat(costs()).extracting(QuantizationCost::timesAsFast).containsExactly(OptionalDouble.empty());
    }

    @Test
    void withoutBothThereIsNothingToCompare() throws IOException {
        add("full", Quantization.NONE, "cyclic", 42, 2);
        add("bits", Quantization.B158, "bitnet", 42, 2);
        add("diverged", Quantization.NONE, "bitnet", 42, Double.NaN);

        assertThat(costs()).isEmpty();
    }
}
