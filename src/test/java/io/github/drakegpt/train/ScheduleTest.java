package io.github.drakegpt.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ScheduleTest {
    private static final double EXACT = 1e-15;

    /** get_last_lr() of torch.optim.lr_scheduler.CyclicLR(base_lr=0.001, max_lr=0.005, step_size_up=5). */
    private static final double[] CYCLIC_LR = {
        0.001, 0.0018, 0.0026, 0.0034, 0.0042, 0.005, 0.0042, 0.0034, 0.0026, 0.0018, 0.001, 0.0018, 0.0026, 0.0034,
        0.0042, 0.005, 0.0042, 0.0034, 0.0026, 0.0018, 0.001, 0.0018, 0.0026, 0.0034, 0.0042
    };

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 500})
    void cyclicIsPyTorchsTriangleSteppedAtEvaluations(int evalInterval) {
        TrainConfig config = config(Schedule.CYCLIC, 100_000, evalInterval, 5, 0);
        for (int evaluation = 0; evaluation < CYCLIC_LR.length; evaluation++) {
            for (int i = 1; i <= evalInterval; i++) {
                assertThat(rate(config, evaluation * evalInterval + i))
                        .as("step %s of evaluation %s", i, evaluation)
                        .isCloseTo(CYCLIC_LR[evaluation], within(EXACT));
            }
        }
    }

    @Test
    void cyclicWithFlanksOfOneEvaluationAlternates() {
        TrainConfig config = config(Schedule.CYCLIC, 10, 1, 1, 0);

        assertThat(rate(config, 1)).isEqualTo(0.001);
        assertThat(rate(config, 2)).isEqualTo(0.005);
        assertThat(rate(config, 3)).isEqualTo(0.001);
        assertThat(rate(config, 4)).isEqualTo(0.005);
    }

    @Test
    void bitnetFallsInTwoStagesAndTheSecondHasNoWeightDecay() {
        TrainConfig config = config(Schedule.BITNET, 100, 1000, 5, 10);

        assertThat(rate(config, 1)).isCloseTo(0.005 * 0.1, within(EXACT));
        assertThat(rate(config, 5)).isCloseTo(0.005 * 0.5 * 0.96, within(EXACT));
        assertThat(rate(config, 10)).isCloseTo(0.005 * 0.91, within(EXACT));
        assertThat(rate(config, 50)).isCloseTo(0.005 * 0.51, within(EXACT));
        assertThat(rate(config, 51)).isCloseTo(0.001 * 0.5, within(EXACT));
        assertThat(rate(config, 100)).isCloseTo(0.001 * 0.01, within(EXACT));
        assertThat(rate(config, 160)).isZero();
        assertThat(config.schedule().decays(config, 50)).isTrue();
        assertThat(config.schedule().decays(config, 51)).isFalse();
        assertThat(Schedule.COSINE.decays(config, 51)).isTrue();
    }

    @Test
    void cosineWarmsUpInAStraightLineToThePeak() {
        TrainConfig config = config(Schedule.COSINE, 110, 1000, 5, 10);

        for (int step = 1; step <= 10; step++) {
            assertThat(rate(config, step)).isCloseTo(0.0005 * step, within(EXACT));
        }
        assertThat(rate(config, 10)).isEqualTo(0.005);
    }

    @Test
    void cosineFallsFromThePeakToTheFloorAtTheLastStep() {
        TrainConfig config = config(Schedule.COSINE, 110, 1000, 5, 10);

        for (int step = 11; step <= 110; step++) {
            assertThat(rate(config, step)).isLessThan(rate(config, step - 1));
        }
        // quarters of half a cosine: (1 + cos(pi / 4)) / 2, 1/2, (1 - cos(pi / 4)) / 2
        assertThat(rate(config, 35)).isCloseTo(0.001 + 0.004 * 0.8535533905932737, within(EXACT));
        assertThat(rate(config, 60)).isCloseTo(0.003, within(EXACT));
        assertThat(rate(config, 85)).isCloseTo(0.001 + 0.004 * 0.14644660940672624, within(EXACT));
        assertThat(rate(config, 110)).isCloseTo(0.001, within(EXACT));
    }

    @Test
    void cosineStaysAtTheFloorAfterTheLastStep() {
        assertThat(rate(config(Schedule.COSINE, 110, 1000, 5, 10), 160)).isCloseTo(0.001, within(EXACT));
    }

    @Test
    void cosineWithoutWarmUpStartsBelowThePeakAtOnce() {
        TrainConfig config = config(Schedule.COSINE, 4, 1000, 5, 0);

        assertThat(rate(config, 1)).isCloseTo(0.001 + 0.004 * 0.8535533905932737, within(EXACT));
        assertThat(rate(config, 2)).isCloseTo(0.003, within(EXACT));
        assertThat(rate(config, 4)).isCloseTo(0.001, within(EXACT));
    }

    @Test
    void cosineThatIsAllWarmUpEndsAtThePeak() {
        TrainConfig config = config(Schedule.COSINE, 10, 1000, 5, 10);

        assertThat(rate(config, 9)).isCloseTo(0.0045, within(EXACT));
        assertThat(rate(config, 10)).isEqualTo(0.005);
    }

    private static double rate(TrainConfig config, int step) {
        return config.schedule().learningRate(config, step);
    }

    private static TrainConfig config(Schedule schedule, int iters, int evalInterval, int stepSizeUp, int warmupIters) {
        return new TrainConfig(
                1,
                iters,
                evalInterval,
                1,
                schedule,
                0.001,
                0.005,
                stepSizeUp,
                warmupIters,
                0,
                List.of(0.9f, 0.95f),
                1e-8f,
                0,
                0,
                1,
                0,
                42);
    }
}
