package io.github.drakegpt.train;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.cuda.Simt;
import io.github.drakegpt.backend.cuda.SimtPanel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.ValueSource;

/** On the SIMT driver, which also counts launches and sees races in shared memory. */
@Tag("simt")
class SimtFusedTrainingTest extends FusedTraining {
    @Override
    Backend open(boolean fuse) {
        return Simt.open(fuse);
    }

    @AfterEach
    void reset() {
        SimtPanel.RESET.set(0);
    }

    private long launchesOfAStep(boolean fuse, ModelConfig model, TrainConfig config) {
        char[] corpus = new char[200];
        try (Backend backend = open(fuse);
                TrainingStep step = TrainingStep.create(backend, model, config, corpus)) {
            step.run(1);
            step.run(2);
            long before = SimtPanel.LAUNCHES.get();
            step.run(3);
            return SimtPanel.LAUNCHES.get() - before;
        }
    }

    /** The counter, all operations but the sums over the sequences, those, and AdamW. */
    @ParameterizedTest
    @FieldSource("NAMES")
    void aStepOfASmallModelIsFourLaunches(String name) {
        ModelConfig model = model(name, 8, 32, 32, 4, 3, 0.1f, true);
        assertThat(launchesOfAStep(true, model, config(2, 0, 1))).isEqualTo(4);
        assertThat(launchesOfAStep(true, model, config(2, 1, 1))).isEqualTo(4);
    }

    /** In one launch each sequence is the work of one multiprocessor. */
    @Test
    void aLargerModelIsLaunchedOneByOne() {
        ModelConfig model = model(Models.SINGLE_HEAD, 64, 256, 128, 1, 1, 0, true);
        long alone = launchesOfAStep(false, model, config(1, 1, 1));
        assertThat(launchesOfAStep(true, model, config(1, 1, 1))).isEqualTo(alone);
    }

    /** There is memory for the model, but none to launch its operations together: for their scratch, or for the list of them. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void withoutMemoryOperationsAreLaunchedOneByOne(int allocation) {
        ModelConfig model = model(Models.TRANSFORMER, 8, 32, 32, 4, 1, 0, true);
        float[] losses = new float[2];
        for (int i = 0; i < 2; i++) {
            boolean fuse = i == 1;
            try (Backend backend = open(fuse);
                    TrainingStep step = TrainingStep.create(backend, model, config(2, 1, 1), new char[200])) {
                SimtPanel.FAIL_ALLOCATION.set(fuse ? allocation : 0);
                step.run(1);
                step.run(2);
                long before = SimtPanel.LAUNCHES.get();
                step.run(3);
                assertThat(SimtPanel.LAUNCHES.get() - before).isGreaterThan(3);
                losses[i] = step.loss();
            }
        }
        assertThat(losses[1]).isEqualTo(losses[0]);
    }
}
