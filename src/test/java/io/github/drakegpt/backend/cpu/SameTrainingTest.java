package io.github.drakegpt.backend.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.train.Schedule;
import io.github.drakegpt.train.TrainConfig;
import io.github.drakegpt.train.TrainingStep;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The same seed gives the same training to the bit on every machine: with any instructions, any number of threads, and in
 * Java alone. The losses here were computed once, and each machine must find them again.
 */
class SameTrainingTest {
    private static final int V = 29;
    private static final int STEPS = 25;

    /** Which parts of the code a model takes. */
    enum Variant {
        /** Short attention, dropout, layer norms; sizes that are no multiples of a vector. */
        SHORT(new ModelConfig(
                Models.TRANSFORMER, V, 8, 36, 36, 4, 2, 0.2f, true, Init.PYTORCH, Quantization.NONE, false)),
        /** Long attention. */
        LONG(new ModelConfig(Models.TRANSFORMER, V, 40, 48, 48, 2, 1, 0.1f, true, Init.GPT2, Quantization.NONE, false)),
        /** Rounded weights and rows, RMS norms. */
        ROUNDED(new ModelConfig(
                Models.TRANSFORMER, V, 8, 32, 32, 4, 2, 0, true, Init.PYTORCH, Quantization.B158, true)),
        /** Factors rounded to bfloat16; inner dimensions that are no multiples of 32. */
        BF16(SHORT.model, Precision.BF16);

        private final ModelConfig model;
        private final Precision precision;

        Variant(ModelConfig model) {
            this(model, Precision.FP32);
        }

        Variant(ModelConfig model, Precision precision) {
            this.model = model;
            this.precision = precision;
        }
    }

    static Stream<Arguments> losses() {
        return Stream.of(
                Arguments.of(Variant.SHORT, "3.3142273 0.3116268"),
                Arguments.of(Variant.LONG, "3.2820003 0.4889309"),
                Arguments.of(Variant.ROUNDED, "3.300248 0.33746892"),
                Arguments.of(Variant.BF16, "3.3142395 0.31173113"));
    }

    /** As this machine trains. */
    @ParameterizedTest
    @MethodSource("losses")
    void everyMachineFindsTheseLosses(Variant variant, String last) {
        List<String> steps = train(1, KernelsChoice.get(), variant);
        assertThat(steps.get(STEPS - 1)).isEqualTo(last);
        assertThat(train(3, KernelsChoice.get(), variant)).isEqualTo(steps);
        assertThat(train(2, KernelsChoice.java("a test", ""), variant)).isEqualTo(steps);
    }

    @ParameterizedTest
    @EnumSource
    void allInstructionsTrainAlike(Instructions instructions) throws IOException {
        KernelsChoice kernels = new KernelsChoice(NativeInstructions.orSkip(instructions), "for a test");
        for (Variant variant : Variant.values()) {
            assertThat(train(4, kernels, variant)).isEqualTo(train(1, KernelsChoice.get(), variant));
        }
    }

    /** Loss and norm of the gradient of each step. */
    private static List<String> train(int threads, KernelsChoice kernels, Variant variant) {
        int length = variant.model.contextLength();
        TrainConfig config = new TrainConfig(
                512 / length, // four shards, one of another size
                STEPS,
                STEPS,
                1,
                Schedule.COSINE,
                0.002,
                0.01,
                2,
                5,
                10,
                List.of(0.9f, 0.95f),
                1e-8f,
                0.1f,
                0.5f,
                1,
                0,
                42);
        Random random = new Random(7);
        char[] tokens = new char[2000];
        for (int i = 0; i < tokens.length; i++) {
            tokens[i] =
                    (char) (random.nextInt(4) > 0 && i > 1 ? (tokens[i - 1] + tokens[i - 2]) % V : random.nextInt(V));
        }
        List<String> steps = new ArrayList<>();
        try (Backend backend = new CpuBackend(threads, variant.precision, kernels);
                TrainingStep step = TrainingStep.create(backend, variant.model, config, tokens)) {
            for (int number = 1; number <= STEPS; number++) {
                step.run(number);
                steps.add(step.loss() + " " + step.gradNorm());
            }
        }
        return steps;
    }
}
