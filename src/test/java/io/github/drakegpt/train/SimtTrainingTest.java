package io.github.drakegpt.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.RepetitionsPerLaunch;
import io.github.drakegpt.backend.cuda.CudaException;
import io.github.drakegpt.backend.cuda.Simt;
import io.github.drakegpt.backend.cuda.SimtPanel;
import io.github.drakegpt.checkpoint.Checkpoint;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.model.Decoder;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.tensor.Arena;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Training through JCuda, on the SIMT driver. */
@Tag("simt")
class SimtTrainingTest extends DeviceTraining {
    SimtTrainingTest() {
        super("simt", 4, 40); // it takes the blocks of a launch one after another
    }

    @BeforeAll
    static void build() {
        Simt.build();
    }

    /** What the GPU held is lost, but not what was saved: the run goes on from there to the same end. */
    @Test
    void anIllegalAddressInTheMiddleOfTrainingLosesNothingThatWasSaved() throws IOException {
        ModelConfig model = model(Models.SINGLE_HEAD, 0);
        Checkpoint whole = train(model, "whole", () -> false);
        int[] asked = new int[1];
        assertThatExceptionOfType(CudaException.class)
                .isThrownBy(() -> train(model, "run", () -> {
                    if (++asked[0] == 2) { // before steps 21 to 40, which are taken together
                        SimtPanel.FAIL_LAUNCH.set(3);
                    }
                    return false;
                }))
                .withMessageContaining("CUDA_ERROR_ILLEGAL_ADDRESS")
                .withMessageContaining("sequence_f32");
        assertThat(RunFolder.open(temp.resolve("run")).state().step()).isEqualTo(20);
        assertThat(train(model, "run", () -> false).weights()).containsExactly(whole.weights());
    }

    /** Once the first evaluation is done, nothing more is allocated. */
    @Test
    @Tag("late")
    void trainingAllocatesNothingOnceItRuns() throws IOException {
        List<Long> allocations = new ArrayList<>();
        train(model(Models.TRANSFORMER, 0.1f), "run", () -> {
            allocations.add(SimtPanel.LIVE_ALLOCATIONS.get());
            return false;
        });
        assertThat(allocations).hasSize(3); // before each of the evaluations
        assertThat(allocations.get(1)).isPositive().isEqualTo(allocations.get(2));
    }

    /** Once they are recorded: what is done once for each launch is done once for all of them. */
    @Test
    void manyTokensThatAreDrawnTogetherTakeNoMoreCallsThanOne() {
        long one = callsOfDraw(1);
        assertThat(one).isBetween(5L, 50L); // to launch, to wait, to copy
        assertThat(callsOfDraw(7)).isEqualTo(one);
    }

    private static long callsOfDraw(int together) {
        ModelConfig model = model(Models.TRANSFORMER, 0);
        Pass pass = Pass.generation(1, 1);
        try (Backend backend = RepetitionsPerLaunch.atMost(together, Backends.create("simt", 1));
                Arena arena = backend.newArena()) {
            LanguageModel loaded = LanguageModel.forGeneration(model, backend, arena, 1, null);
            loaded.weights().write(loaded.parameters().initialValues(1));
            try (Decoder decoder = new Decoder(backend, loaded, 1, Sampling.PLAIN, 42)) {
                for (int i = 0; i < 2; i++) {
                    decoder.place(new int[] {0}, 0, 0, 0);
                    decoder.draw(pass, together);
                }
                decoder.place(new int[] {0}, 0, 0, 0);
                long before = SimtPanel.CALLS.get();
                assertThat(decoder.draw(pass, together)).hasSize(together);
                return SimtPanel.CALLS.get() - before;
            }
        }
    }
}
