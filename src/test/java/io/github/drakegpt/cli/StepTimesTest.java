package io.github.drakegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class StepTimesTest {
    private final StepTimes times = new StepTimes();

    @Test
    void percentilesAreOfSteps() {
        for (int i = 100; i >= 1; i--) {
            times.add(1, i);
        }

        assertThat(times.percentile(0.5)).isEqualTo(50);
        assertThat(times.percentile(0.9)).isEqualTo(90);
        assertThat(times.percentile(1)).isEqualTo(100);
        assertThat(times.mean()).isCloseTo(50.5, within(1e-9));
    }

    @Test
    void stepsThatWereWaitedForTogetherCountEach() {
        times.add(1, 7);
        times.add(8, 8 * 2);
        times.add(1, 3);

        assertThat(times.percentile(0.5)).isEqualTo(2);
        assertThat(times.percentile(0.85)).isEqualTo(3);
        assertThat(times.percentile(0.95)).isEqualTo(7);
        assertThat(times.mean()).isCloseTo(2.6, within(1e-9));
    }

    @Test
    void theAverageMovesAndLeavesOutTheFirstStep() {
        assertThat(times.average()).isNaN();
        times.add(1, 100);
        assertThat(times.average()).isEqualTo(100);
        times.add(1, 2);
        assertThat(times.average()).isCloseTo(2, within(1e-9));
        times.add(1, 4);
        assertThat(times.average()).isCloseTo((0.95 * 2 + 4) / 1.95, within(1e-9));
        times.add(1000, 1000 * 8);
        assertThat(times.average()).isCloseTo(8, within(1e-9));
    }

    @Test
    void manyStepsFit() {
        for (int i = 0; i < 10_000; i++) {
            times.add(1, i % 10);
        }

        assertThat(times.percentile(0.5)).isEqualTo(4);
    }
}
