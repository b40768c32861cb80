package io.github.drakegpt.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.github.drakegpt.checkpoint.Checkpoint;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.TrainingState;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.quant.Quantization;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class RunReportTest {
    @TempDir
    Path temp;

    @Test
    void aRunBeforeItsFirstCheckpointTellsWhatIsKnown() throws IOException {
        RunReport run = RunReport.read(TestRuns.create(temp.resolve("one"), TestRuns.step(10, 2.5)));

        assertThat(run.name()).isEqualTo("one");
        assertThat(run.state()).isEmpty();
        assertThat(run.metrics()).containsExactly(TestRuns.step(10, 2.5));
        assertThat(run.weightsOnly()).isFalse();
        assertThat(run.machine()).isEmpty();
        assertThat(run.profile()).isEmpty();
        assertThat(run.iters()).isEqualTo(1000);
        assertThat(run.tokensPerStep()).isEqualTo(4 * 2 * 3); // batch, parts, context
    }

    @ParameterizedTest
    @EnumSource
    void sizesAreThoseOfTheWeightsThatAreNotRead(Quantization quantization) throws IOException {
        ModelConfig model = TestRuns.model(quantization);
        Parameters parameters = LanguageModel.parametersOf(model);
        float[] weights = parameters.initialValues(1);
        RunFolder folder = RunFolder.create(temp.resolve("one"), TestRuns.config(quantization), TestRuns.TOKENIZER);
        TrainingState state = TrainingState.START.advanced(7, 1.5, 2.5);
        folder.save(new Checkpoint(weights, weights, weights, state), parameters);

        RunReport run = RunReport.read(folder.path());
        assertThat(run.weightBytes()).isEqualTo(folder.loadWeights().bytes());
        assertThat(run.parameters()).isEqualTo(parameters.count());
        assertThat(run.state()).contains(state);
        assertThat(run.weightsOnly()).isFalse();
    }

    @Test
    void packedWeightsAreARunWithoutTraining() throws IOException {
        ModelConfig model = TestRuns.model(Quantization.B158);
        float[] trained = LanguageModel.parametersOf(model).initialValues(1);
        RunFolder folder = RunFolder.createPacked(
                temp.resolve("packed"),
                TestRuns.config(Quantization.B158),
                TestRuns.TOKENIZER,
                Weights.of(model, trained));

        RunReport run = RunReport.read(folder.path());
        assertThat(run.weightsOnly()).isTrue();
        assertThat(run.metrics()).isEmpty();
        assertThat(run.weightBytes()).isEqualTo(folder.loadWeights().bytes());
    }

    @Test
    void aTornLastLineIsPassedOver() throws IOException {
        Path folder = TestRuns.create(temp.resolve("one"), TestRuns.step(10, 2.5), TestRuns.evaluation(20, 2, 3, "x"));
        Files.writeString(folder.resolve(RunFolder.METRICS), "{\"step\":30,\"lo", StandardOpenOption.APPEND);

        assertThat(RunReport.read(folder).metrics()).hasSize(2);
    }

    @Test
    void machineAndProfileAreReadWhereTheyAre() throws IOException {
        Path folder = TestRuns.create(temp.resolve("one"));
        Files.writeString(folder.resolve(RunFolder.MACHINE), "{\"device\":\"cpu, <b>\",\"cores\":\"2\"}");
        Files.writeString(folder.resolve(RunFolder.PROFILE), "{\"device\":\"cpu\",\"speed\":[]}");

        RunReport run = RunReport.read(folder);
        assertThat(run.machine()).containsEntry("device", "cpu, <b>").containsEntry("cores", "2");
        assertThat(run.profile().orElseThrow().path("device").asText()).isEqualTo("cpu");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "[1]", "{\"a\":"})
    void aDamagedFileIsNamed(String content) throws IOException {
        Path folder = TestRuns.create(temp.resolve("one"));
        Path file = Files.writeString(folder.resolve(RunFolder.MACHINE), content);

        assertThatThrownBy(() -> RunReport.read(folder))
                .isInstanceOf(IOException.class)
                .hasMessageStartingWith(file + " is damaged")
                .hasMessageEndingWith(".");
    }

    @Test
    void namesAreAsLongAsTellsThemApart() throws IOException {
        List<RunReport> runs = RunReport.read(List.of(
                TestRuns.create(temp.resolve("a/journey/Bigram")),
                TestRuns.create(temp.resolve("b/journey/Bigram")),
                TestRuns.create(temp.resolve("b/other/Bigram")),
                TestRuns.create(temp.resolve("b/Blocks"))));

        assertThat(runs)
                .extracting(RunReport::name)
                .containsExactly(
                        Path.of("a/journey/Bigram").toString(),
                        Path.of("b/journey/Bigram").toString(),
                        Path.of("other/Bigram").toString(),
                        "Blocks");
    }
}
