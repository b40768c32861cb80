package io.github.drakegpt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.tensor.Tensor;
import org.junit.jupiter.api.Test;

/** The CPU by the front door. */
class DeviceTest extends DeviceOperations {
    @Override
    Device open() {
        return Device.open("cpu");
    }

    @Test
    void anArrayIsWrapped() {
        float[] mine = {1, 2, 3, 4, 1, 1, 1, 1};
        try (Device device = open()) {
            Tensor x = device.wrap(mine, 2, 4);
            device.softmax(x, x);
            assertThat(mine).startsWith(0.0320586f).endsWith(0.25f, 0.25f, 0.25f, 0.25f);
            Tensor loss = device.wrap(new float[1], 1);
            device.crossEntropy(x, device.wrap(new int[] {0, 1}, 2), loss);
            assertThat(loss.toFloats()[0]).isGreaterThan(2f);
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> device.wrap(mine, 3, 4))
                    .withMessage("An array of 8 values was given for a tensor (3, 4); give one of 12.");
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> device.linear(x, device.wrap(new float[16], 4, 4), null, device.wrap(mine, 2, 4)))
                    .withMessage("linear: y and x share memory; give them tensors of their own.");
        }
    }

    @Test
    void aTargetOutsideOfTheVocabularyIsRefused() {
        try (Device device = open();
                Arena arena = device.newArena()) {
            Tensor logits = arena.allocate(DType.F32, 2, 4);
            for (int target : new int[] {4, -1, Integer.MAX_VALUE}) {
                assertThatIllegalArgumentException()
                        .isThrownBy(() -> device.crossEntropy(
                                logits, device.wrap(new int[] {0, target}, 2), arena.allocate(DType.F32, 1)))
                        .withMessage("Token " + target
                                + " in row 1 is not in the vocabulary of 4 tokens; give ids from 0 to 3.");
            }
        }
    }

    @Test
    void aBuilderSaysWhatIsWanted() {
        try (Device device = Device.builder().name("cpu").threads(3).open()) {
            assertThat(device.name()).isEqualTo("cpu");
            assertThat(device.description()).startsWith("3 threads, ");
            assertThat(device.precision()).isEqualTo(Precision.FP32);
        }
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Device.open("tpu"))
                .withMessage("There is no device 'tpu'; choose auto or one of: cuda, cpu.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Device.builder().threads(0).open())
                .withMessage("0 threads are not possible; give 1 or more.");
    }

    @Test
    void anotherPrecisionIsTakenOnlyIfThatIsAllowed() {
        Device.Builder tf32 = Device.builder().name("cpu").precision(Precision.TF32);
        assertThatIllegalArgumentException().isThrownBy(tf32::open).withMessageContaining("tf32");
        try (Device device = tf32.orElse(Precision.FP32).open()) {
            assertThat(device.precision()).isEqualTo(Precision.FP32);
        }
    }
}
