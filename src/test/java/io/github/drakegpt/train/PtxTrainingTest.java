package io.github.drakegpt.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.cuda.Simt;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.tensor.Precision;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The first steps of each model, computed by the PTX that ships, against those of the CPU. */
@Tag("ptx")
class PtxTrainingTest {
    private static final int STEPS = 2;

    @BeforeAll
    static void build() {
        Simt.build();
    }

    static Stream<Arguments> runs() {
        return Models.NAMES.stream()
                .flatMap(name -> Stream.of(true, false)
                        .flatMap(fuse -> Stream.of(Precision.FP32, Precision.BF16)
                                .map(precision -> Arguments.of(name, fuse, precision))));
    }

    @ParameterizedTest
    @MethodSource("runs")
    void lossesAndNormsAreThoseOfTheCpu(String name, boolean fuse, Precision precision) {
        ModelConfig model = FusedTraining.model(name, 8, 16, 16, 4, 2, 0.2f, true);
        List<Float> expected = train("cpu", BackendOptions.ofThreads(1), model);
        List<Float> found = train("simt", new BackendOptions(1, precision, fuse), model);
        float tolerance = precision == Precision.FP32 ? 1e-4f : 0.03f;
        for (int i = 0; i < expected.size(); i++) {
            assertThat(found.get(i)).isCloseTo(expected.get(i), within(tolerance));
        }
    }

    private static List<Float> train(String device, BackendOptions options, ModelConfig model) {
        try (Backend backend = Backends.create(device, options);
                TrainingStep step =
                        TrainingStep.create(backend, model, FusedTraining.config(3, 1, 1), FusedTraining.CORPUS)) {
            return Stream.iterate(1, i -> i <= STEPS, i -> i + 1)
                    .flatMap(i -> {
                        step.run(i);
                        return Stream.of(step.loss(), step.gradNorm());
                    })
                    .toList();
        }
    }
}
