package io.github.drakegpt.quant;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PackedMatrixTest {
    @ParameterizedTest
    @CsvSource({"1,1,1", "16,128,1", "17,129,1", "48,32,3", "33,300,3", "96,257,12"})
    void everyWeightIsFoundAgain(int out, int in, int matrices) {
        float[] w = gaussian(out * in + 5);
        for (Quantization quantization : new Quantization[] {Quantization.BITNET, Quantization.B158}) {
            PackedMatrix packed = PackedMatrix.pack(quantization, w, 5, out, in, matrices);
            float[] scales = packed.rowScales();
            int rows = out / matrices;
            for (int row = 0; row < out; row++) {
                int first = 5 + row / rows * rows * in;
                float[] matrix = Arrays.copyOfRange(w, first, first + rows * in);
                double mean = mean(matrix);
                double size = meanMagnitude(matrix);
                assertThat(scales[row]).isCloseTo((float) size, org.assertj.core.data.Percentage.withPercentage(1e-4));
                for (int column = 0; column < in; column++) {
                    float value = w[5 + row * in + column];
                    int expected = quantization == Quantization.BITNET
                            ? (value >= (float) mean ? 1 : -1)
                            : (int) Math.max(-1, Math.min(1, Math.rint(value * (1 / (float) size))));
                    assertThat(packed.value(row, column))
                            .as("row %d, column %d", row, column)
                            .isEqualTo(expected);
                }
            }
        }
    }

    /** The layout as its description has it, written out for a few places: files on disks depend on it. */
    @Test
    void theLayoutStaysWhatItIs() {
        float[] w = new float[32 * 256];
        Arrays.fill(w, -1f);
        w[(16 + 8 + 3) * 256 + 128 + 2 * 32 + 16 + 3 * 4 + 1] = 1; // r 1, s 1, g 3; t 2, h 1, j 3, b 1
        byte[] two = PackedMatrix.pack(Quantization.B158, w, 0, 32, 256, 1).codes();
        byte[] one = PackedMatrix.pack(Quantization.BITNET, w, 0, 32, 256, 1).codes();
        int inUnit = ((2 * 8 + 3) * 4 + 3) * 4 + 1;
        assertThat(two).hasSize(4 * 512);
        assertThat(two[3 * 512 + inUnit]).isEqualTo((byte) (2 << 2 * 3)); // slot 2 h + s
        assertThat(one).hasSize(2 * 512);
        assertThat(one[512 + inUnit]).isEqualTo((byte) (1 << 7)); // slot 4 v + 2 h + s
        assertThat(nonZero(two)).isEqualTo(1);
        assertThat(nonZero(one)).isEqualTo(1);
    }

    @Test
    void tiesGoToTheEvenNumberAndTheMeanIsPositive() {
        PackedMatrix ternary = PackedMatrix.pack(Quantization.B158, new float[] {0.5f, -0.5f, 1.5f, -1.5f}, 0, 1, 4, 1);
        assertThat(new int[] {ternary.value(0, 0), ternary.value(0, 1), ternary.value(0, 2), ternary.value(0, 3)})
                .containsExactly(0, 0, 1, -1);
        PackedMatrix binary = PackedMatrix.pack(Quantization.BITNET, new float[] {2, 2}, 0, 1, 2, 1);
        assertThat(new int[] {binary.value(0, 0), binary.value(0, 1)}).containsExactly(1, 1);
    }

    @Test
    void whatCannotBePackedIsRefused() {
        for (Quantization quantization : new Quantization[] {Quantization.BITNET, Quantization.B158}) {
            for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
                assertThatIllegalArgumentException()
                        .isThrownBy(() -> PackedMatrix.pack(quantization, new float[] {1, bad}, 0, 1, 2, 1))
                        .withMessageContaining("NaN or infinite");
            }
        }
        assertThatIllegalArgumentException()
                .isThrownBy(() -> PackedMatrix.pack(Quantization.BITNET, new float[4], 0, 2, 2, 1))
                .withMessageContaining("one bit cannot express");
        PackedMatrix zeros = PackedMatrix.pack(Quantization.B158, new float[4], 0, 2, 2, 1);
        assertThat(zeros.value(1, 1)).isZero();
        assertThat(zeros.scales()[0]).isPositive();
    }

    @Test
    void damagedCodesAndScalesAreRefused() {
        byte[] codes = new byte[512];
        float[] scale = {1};
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new PackedMatrix(Quantization.B158, 16, 128, new byte[511], scale))
                .withMessageContaining("511 bytes of codes where (16, 128) takes 512");
        for (int slot = 0; slot < 4; slot++) {
            byte[] bad = codes.clone();
            bad[77] = (byte) (3 << 2 * slot);
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> new PackedMatrix(Quantization.B158, 16, 128, bad, scale))
                    .withMessageContaining("code 3");
            assertThat(new PackedMatrix(Quantization.BITNET, 16, 256, bad, scale).in())
                    .isEqualTo(256);
        }
        for (float bad : new float[] {0, -1, Float.NaN, Float.POSITIVE_INFINITY}) {
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> new PackedMatrix(Quantization.B158, 16, 128, codes, new float[] {bad}))
                    .withMessageContaining("scale " + bad);
        }
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new PackedMatrix(Quantization.B158, 16, 128, codes, new float[3]))
                .withMessageContaining("3 scales cannot be shared among 16 rows");
        assertThatIllegalArgumentException()
                .isThrownBy(
                        () -> new PackedMatrix(Quantization.B158, 1, PackedMatrix.MOST_COLUMNS + 1, new byte[0], scale))
                .withMessageContaining("fit 32 bits");
    }

    private static long nonZero(byte[] bytes) {
        int n = 0;
        for (byte b : bytes) {
            n += b != 0 ? 1 : 0;
        }
        return n;
    }

    private static double mean(float[] values) {
        double sum = 0;
        for (float value : values) {
            sum += value;
        }
        return sum / values.length;
    }

    private static double meanMagnitude(float[] values) {
        double sum = 0;
        for (float value : values) {
            sum += Math.abs(value);
        }
        return sum / values.length;
    }

    private static float[] gaussian(int n) {
        Random random = new Random(42);
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }
}
