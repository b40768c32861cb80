package io.github.drakegpt.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.Collective;
import io.github.drakegpt.backend.RepetitionsPerLaunch;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.quant.Quantization;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Steps one by one, and several at once. */
class TrainingStepTest {
    private static final int V = 13;
    private static final int ITERS = 30;
    private static final char[] TOKENS = tokens();

    private Backend backend;

    @BeforeEach
    void start() {
        backend = Backends.create("cpu", 1);
    }

    @AfterEach
    void stop() {
        backend.close();
    }

    /** Over the end of warm-up and of rounding's (step 11), and the middle, from which weights decay no more (step 16). */
    @ParameterizedTest
    @ValueSource(ints = {2, 4, 7, 15, 30, 100})
    void aStepIsTheSameHoweverManyAreTakenTogether(int together) {
        List<String> expected = new ArrayList<>();
        float[] weights = train(backend, 1, expected);
        List<String> steps = new ArrayList<>();
        assertThat(train(RepetitionsPerLaunch.atMost(together, backend), ITERS, steps))
                .containsExactly(weights);
        assertThat(steps).isEqualTo(expected).hasSize(ITERS);
    }

    /** The weights after all steps; {@code ranges}: of how many steps each call may take some. */
    private static float[] train(Backend backend, int ranges, List<String> steps) {
        try (TrainingStep step = TrainingStep.create(backend, model(), config(), TOKENS)) {
            int number = 0;
            while (number < ITERS) {
                for (TrainingListener.Step done : step.run(number + 1, Math.min(ITERS, number + ranges))) {
                    number++;
                    assertThat(done.number()).isEqualTo(number);
                    steps.add(number + " " + done.loss() + " " + done.gradNorm() + " " + done.learningRate());
                }
                assertThat(step.number()).isEqualTo(number);
                assertThat(steps.get(number - 1))
                        .isEqualTo(number + " " + step.loss() + " " + step.gradNorm() + " " + step.learningRate());
            }
            return step.weights().toFloats();
        }
    }

    @Test
    void asManyAsFitAreTakenTogetherAndTheRestOneByOne() {
        Backend sevens = RepetitionsPerLaunch.atMost(7, backend);
        try (TrainingStep step = TrainingStep.create(sevens, model(), config(), TOKENS)) {
            assertThat(step.stepsPerLaunch()).isEqualTo(7);
            assertThat(step.run(1, 6)).hasSize(1);
            assertThat(step.run(2, 8)).hasSize(7);
            step.run(9);
            assertThat(step.run(10, 30)).hasSize(1); // weights decay in step 15, and in 16 no more
            assertThat(step.run(16, 30)).hasSize(7);
            step.run(23);
            assertThat(step.number()).isEqualTo(23);
        }
        try (TrainingStep step = TrainingStep.create(backend, model(), config(), TOKENS)) {
            assertThat(step.stepsPerLaunch()).isOne();
            assertThat(step.run(1, 30)).hasSize(1);
        }
    }

    /** Between steps a model is evaluated as it will be used: with all of the rounding. */
    @Test
    void anEvaluationSeesTheWholeRounding() {
        double[] losses = new double[2];
        for (int i = 0; i < 2; i++) {
            Backend some = RepetitionsPerLaunch.atMost(1 + 4 * i, backend);
            try (TrainingStep step = TrainingStep.create(some, model(), config(), TOKENS)) {
                for (int number = 0; number < 5; number = step.number()) {
                    step.run(number + 1, 5);
                }
                Evaluator evaluator = new Evaluator(
                        some,
                        Collective.ALONE,
                        step.arena(),
                        step.replicas(),
                        step.batches(),
                        Shards.evaluation(some, 2, 8, model().contextLength()));
                losses[i] = evaluator.loss();
                step.run(6);
                assertThat(evaluator.loss()).isNotEqualTo(losses[i]);
            }
        }
        assertThat(losses[1]).isEqualTo(losses[0]);
    }

    /** A step draws what its number says, whatever was done before. */
    @Test
    void stepsNeedNotFollowOneAnother() {
        float[] first;
        try (TrainingStep step = TrainingStep.create(backend, model(), config(), TOKENS)) {
            step.run(20);
            first = step.weights().toFloats();
        }
        try (TrainingStep step =
                TrainingStep.create(RepetitionsPerLaunch.atMost(3, backend), model(), config(), TOKENS)) {
            float[] initial = step.weights().toFloats();
            step.run(1, 3);
            step.weights().write(initial);
            step.firstMoments().write(new float[initial.length]);
            step.secondMoments().write(new float[initial.length]);
            step.run(20);
            assertThat(step.weights().toFloats()).containsExactly(first);
        }
    }

    @Test
    void refusesStepsThatThereAreNot() {
        try (TrainingStep step = TrainingStep.create(backend, model(), config(), TOKENS)) {
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> step.run(0))
                    .withMessage("There are no steps 0 to 0; begin with 1 and end with the same or a later one.");
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> step.run(5, 4))
                    .withMessage("There are no steps 5 to 4; begin with 1 and end with the same or a later one.");
        }
    }

    private static ModelConfig model() {
        return new ModelConfig(
                Models.TRANSFORMER, V, 8, 16, 16, 2, 2, 0.2f, true, Init.PYTORCH, Quantization.B158, true);
    }

    private static TrainConfig config() {
        return new TrainConfig(
                8,
                ITERS,
                ITERS,
                2,
                Schedule.BITNET,
                0.002,
                0.01,
                2,
                5,
                11,
                List.of(0.9f, 0.95f),
                1e-8f,
                0.1f,
                0.25f,
                2,
                0,
                42);
    }

    @Test
    void aCorpusOfALargerVocabularyIsRefused() {
        char[] tokens = TOKENS.clone();
        tokens[3] = (char) model().vocabSize();
        assertThatIllegalArgumentException()
                .isThrownBy(() -> TrainingStep.create(backend, model(), config(), tokens))
                .withMessageStartingWith("The training split has token " + model().vocabSize())
                .withMessageContaining("model.vocab_size");
    }

    private static char[] tokens() {
        Random random = new Random(3);
        char[] tokens = new char[2000];
        for (int i = 0; i < tokens.length; i++) {
            tokens[i] = (char) (i % 3 == 0 ? random.nextInt(V) : i % V);
        }
        return tokens;
    }
}
