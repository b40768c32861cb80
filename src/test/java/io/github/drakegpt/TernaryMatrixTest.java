package io.github.drakegpt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TernaryMatrixTest {
    private static TernaryMatrix random(int bits, int out, int in) {
        Random random = new Random(5);
        float[] weights = new float[out * in];
        for (int i = 0; i < weights.length; i++) {
            weights[i] = (float) random.nextGaussian();
        }
        return bits == 1 ? TernaryMatrix.quantizeToOneBit(weights, out, in) : TernaryMatrix.quantize(weights, out, in);
    }

    @Test
    void weightsAreRoundedAndScaled() {
        float[] weights = {2, -0.25f, 0, -1.75f, 0.5f, -1.5f};
        TernaryMatrix ternary = TernaryMatrix.quantize(weights, 2, 3); // mean(|w|) is 1
        assertThat(ternary.scale()).isEqualTo(1);
        assertThat(ternary.toFloats()).containsExactly(1, 0, 0, -1, 0, -1);
        assertThat(ternary).hasToString("(2, 3) of 2 bits");
        TernaryMatrix binary = TernaryMatrix.quantizeToOneBit(weights, 2, 3); // mean(w) is -1 / 6
        assertThat(binary.toFloats()).containsExactly(1, -1, 1, -1, 1, -1);
        assertThat(binary).hasToString("(2, 3) of 1 bit");
        weights[0] = -9;
        assertThat(ternary.value(0, 0)).isEqualTo(1);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void bytesGiveTheSameMatrix(int bits) {
        TernaryMatrix matrix = random(bits, 17, 300);
        byte[] bytes = matrix.toBytes();
        TernaryMatrix read = TernaryMatrix.fromBytes(bytes);
        assertThat(read).hasToString(matrix.toString());
        assertThat(read.toFloats()).isEqualTo(matrix.toFloats());
        Arrays.fill(bytes, (byte) 0);
        assertThat(read.toFloats()).isEqualTo(matrix.toFloats());
    }

    @Test
    void otherBytesAreRefused() {
        byte[] bytes = random(2, 3, 5).toBytes();
        assertThatIllegalArgumentException()
                .isThrownBy(() -> TernaryMatrix.fromBytes(new byte[3]))
                .withMessage("These 3 bytes do not begin as those of a matrix; give what TernaryMatrix.toBytes wrote.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> TernaryMatrix.fromBytes(Arrays.copyOf(bytes, bytes.length - 1)))
                .withMessage("A matrix (3, 5) cannot be made: it has 511 bytes of codes where (3, 5) takes 512.");
        for (int at = 0; at < 20; at++) { // a byte of the header
            byte[] wrong = bytes.clone();
            wrong[at] ^= (byte) 0x80;
            if (at < 16 || at == 19) { // what is left are other scales
                assertThatIllegalArgumentException().isThrownBy(() -> TernaryMatrix.fromBytes(wrong));
            }
        }
        bytes[bytes.length - 1] = 3;
        assertThatIllegalArgumentException()
                .isThrownBy(() -> TernaryMatrix.fromBytes(bytes))
                .withMessageContaining("the code 3");
    }

    /** The example of {@code unpack_weights} in transformers/integrations/bitnet.py. */
    @Test
    void huggingFacesLayout() {
        byte[] packed = {(byte) 0b10100001, 0b00011000, (byte) 0b10010000, 0b00001010};
        float[] unpacked = {0, -1, -1, 1, -1, 1, -1, 1, 1, 0, 0, -1, 1, -1, 1, -1}; // (8, 2)
        TernaryMatrix matrix = TernaryMatrix.fromHuggingFace(packed, 8, 2, 1);
        assertThat(matrix.toFloats()).containsExactly(unpacked);
        assertThat(matrix.toHuggingFace()).containsExactly(packed);
        assertThat(TernaryMatrix.fromHuggingFace(packed, 8, 2, 0.5f).toFloats()[8])
                .isEqualTo(0.5f);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void huggingFacesLayoutGivesTheSameWeights(int bits) {
        TernaryMatrix matrix = random(bits, 20, 131);
        TernaryMatrix read = TernaryMatrix.fromHuggingFace(matrix.toHuggingFace(), 20, 131, matrix.scale());
        assertThat(read.toFloats()).isEqualTo(matrix.toFloats());
    }

    @Test
    void impossibleMatricesAreRefused() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> TernaryMatrix.quantize(new float[7], 2, 4))
                .withMessage("7 weights were given for a matrix (2, 4); give 8.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> TernaryMatrix.quantize(new float[0], 0, 4))
                .withMessage("A matrix of 0 rows or columns is not possible; give 1 or more.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> TernaryMatrix.quantize(new float[] {1, Float.NaN}, 1, 2))
                .withMessage("A matrix (1, 2) cannot be made: it has weights that are NaN or infinite.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> TernaryMatrix.quantizeToOneBit(new float[2], 1, 2))
                .withMessageContaining("all its weights are 0");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> random(2, 6, 4).toHuggingFace())
                .withMessage(
                        "Hugging Face's layout has rows in fours, and 6 is not a multiple of 4; add rows of zeros.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> TernaryMatrix.fromHuggingFace(new byte[] {3}, 4, 1, 1))
                .withMessageContaining("it has the weight 2");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> TernaryMatrix.fromHuggingFace(new byte[1], 4, 1, 0))
                .withMessageContaining("its scale 0.0 is not a finite number above 0");
        assertThatExceptionOfType(IndexOutOfBoundsException.class)
                .isThrownBy(() -> random(2, 2, 4).value(2, 0))
                .withMessage("A matrix (2, 4) has no weight (2, 0).");
    }
}
