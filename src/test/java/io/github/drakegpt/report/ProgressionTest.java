package io.github.drakegpt.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.report.Progression.Step;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ProgressionTest {
    @TempDir
    Path temp;

    private final List<Path> folders = new ArrayList<>();

    private void add(String model, int seed, String corpus, double valLoss) throws IOException {
        folders.add(TestRuns.create(temp.resolve("run" + folders.size()), model, seed, corpus, valLoss));
    }

    private void add(String model, double valLoss) throws IOException {
        add(model, 42, "lyrics", valLoss);
    }

    private List<Progression> progressions() throws IOException {
        return Progression.of(SeedGroup.of(RunReport.read(folders)));
    }

    @Test
    void eachModelIsComparedWithTheOneBeforeItInWhateverOrderTheyCome() throws IOException {
        double[] losses = {2.5, 2.25, 2, 1.875, 1.75, 1.8125};
        for (int i = 5; i >= 0; i--) {
            add(Models.NAMES.get(i), losses[i]);
        }

        Progression progression = progressions().get(0);

        assertThat(progressions()).hasSize(1);
        assertThat(progression.steps())
                .extracting(step -> step.group().stage().name())
                .isEqualTo(Models.NAMES);
        assertThat(progression.steps())
                .extracting(step -> step.change().orElse(Double.NaN))
                .containsExactly(Double.NaN, -0.25, -0.25, -0.125, -0.125, 0.0625);
        assertThat(progression.largestChange()).isEqualTo(0.25);
        assertThat(progression.sentence())
                .isEqualTo("One head of self-attention lowered the val loss most, by 0.250, from 2.500 to 2.250;"
                        + " layer norm and dropout (+0.063) did not lower it.");
    }

    @Test
    void aStepThatSkipsModelsAddsTheirPartsToo() throws IOException {
        add(Models.SINGLE_HEAD, 2.25);
        add(Models.BLOCKS, 1.75);

        Progression progression = progressions().get(0);

        assertThat(progression.steps())
                .extracting(Step::adds)
                .containsExactly(
                        "one head of self-attention",
                        "several heads side by side, layers of attention and feed-forward");
        assertThat(progression.sentence())
                .isEqualTo("Several heads side by side, layers of attention and feed-forward lowered the val loss by"
                        + " 0.500, from 2.250 to 1.750.");
    }

    @Test
    void runsOfSeveralSeedsCountAsTheirMean() throws IOException {
        add(Models.BIGRAM, 1, "lyrics", 2.5);
        add(Models.BIGRAM, 2, "lyrics", 2.7);
        add(Models.SINGLE_HEAD, 1, "lyrics", 2.7);

        Progression progression = progressions().get(0);

        assertThat(progression.steps().get(0).valLoss()).isCloseTo(2.6, within(1e-12));
        assertThat(progression.steps().get(0).group().runs()).hasSize(2);
        assertThat(progression.steps().get(1).change().orElseThrow()).isCloseTo(0.1, within(1e-12));
        assertThat(progression.sentence()).isEqualTo("No part lowered the val loss.");
    }

    @Test
    void runsThatDifferInMoreThanModelAndSeedAreNotCompared() throws IOException {
        add(Models.BIGRAM, 1, "lyrics", 2.5);
        add(Models.SINGLE_HEAD, 1, "others", 2.25);
        assertThat(progressions()).isEmpty();

        add(Models.SINGLE_HEAD, 1, "lyrics", 2);
        add(Models.BIGRAM, 1, "others", 3);
        assertThat(progressions())
                .extracting(progression -> progression.steps().get(1).change().orElseThrow())
                .containsExactly(-0.5, -0.75);
    }

    @Test
    void quantizedRunsAndThoseWithoutAnEvaluationAreLeftOut() throws IOException {
        add(Models.BIGRAM, 2.5);
        add(Models.SINGLE_HEAD, Double.NaN);
        folders.add(TestRuns.create(temp.resolve("begun")));
        Path quantized = temp.resolve("quantized");
        RunFolder.create(quantized, TestRuns.config(Quantization.B158), TestRuns.TOKENIZER);
        TestRuns.write(quantized, TestRuns.evaluation(1000, 2, 2, null));
        folders.add(quantized);

        assertThat(progressions()).isEmpty();
    }
}
