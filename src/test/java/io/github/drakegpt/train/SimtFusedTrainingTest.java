package io.github.drakegpt.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.within;

import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.cuda.CudaException;
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
import org.slf4j.LoggerFactory;

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

    /** The driver may refuse the kernels for operations together, and take all others. */
    @Test
    void withoutTheProgramOperationsAreLaunchedOneByOne() {
        ModelConfig model = model(Models.TRANSFORMER, 8, 32, 32, 4, 1, 0.1f, true);
        Logger logger = (Logger) LoggerFactory.getLogger("io.github.drakegpt.backend.cuda.SequenceCompiler");
        ListAppender<ILoggingEvent> log = new ListAppender<>();
        log.start();
        logger.addAppender(log);
        logger.setAdditive(false);
        float[][] losses = new float[2][6];
        try {
            for (int i = 0; i < 2; i++) {
                try (Backend backend = i == 0 ? open(false) : Simt.openWithProgram(() -> Simt.DAMAGED_PTX)) {
                    for (int step = 0; step < 6; step += 3) { // two pieces of recorded work
                        train(backend, model, losses[i], step);
                    }
                }
            }
        } finally {
            logger.setAdditive(true);
            logger.detachAppender(log);
        }
        assertThat(losses[1]).containsExactly(losses[0], within(1e-5f)); // residuals are still added where the norm is
        assertThat(log.list)
                .extracting(ILoggingEvent::getFormattedMessage)
                .singleElement()
                .asString()
                .startsWith("Operations are launched one by one, which is slower: "
                        + "CUDA_ERROR_INVALID_PTX while loading the kernels of sequence.ptx (");
    }

    /** Three steps of a new model. */
    private static void train(Backend backend, ModelConfig model, float[] losses, int first) {
        try (TrainingStep step = TrainingStep.create(backend, model, config(2, 1, 1), new char[200])) {
            for (int i = 0; i < 3; i++) {
                long before = SimtPanel.LAUNCHES.get();
                step.run(i + 1);
                assertThat(SimtPanel.LAUNCHES.get() - before).isGreaterThan(4);
                losses[first + i] = step.loss();
            }
        }
    }

    @Test
    void aGpuThatIsLostMeanwhileIsNoReasonToGoOn() {
        ModelConfig model = model(Models.TRANSFORMER, 8, 32, 32, 4, 1, 0, true);
        Backend backend = Simt.openWithProgram(() -> {
            SimtPanel.LOSE_DEVICE.set(1);
            return "";
        });
        TrainingStep step = TrainingStep.create(backend, model, config(2, 1, 1), new char[200]);
        assertThatExceptionOfType(CudaException.class)
                .isThrownBy(() -> step.run(1))
                .satisfies(e -> assertThat(e.lost()).isTrue());
        SimtPanel.RESET.set(0);
        step.close();
        backend.close();
    }
}
