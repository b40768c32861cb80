package io.github.drakegpt.backend;

import static io.github.drakegpt.backend.GuardedTensors.read;
import static io.github.drakegpt.backend.GuardedTensors.readInts;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.QuantizeInt8Op;
import io.github.drakegpt.ops.ResidualOp;
import io.github.drakegpt.ops.RmsNormOp;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The operations with 8-bit rows and packed weights, against loops over what the definitions say: each backend's test
 * extends this class. Sums of whole numbers must be equal, whatever the order and the instructions.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
public abstract class PackedOperations {
    private Random random;
    private Arena arena;
    private GuardedTensors guarded;

    /** The backend to test, the same one at each call; closed after the last test. */
    protected abstract Backend backend();

    /** Multiplies, in each way that the backend has. */
    protected void multiply(GuardedTensors guarded, PackedLinearOp op, Pass pass) {
        guarded.run(op, pass);
    }

    /** Whether float tensors begin at multiples of 16 bytes, where a GPU reads and writes so much at a time. */
    protected boolean aligned() {
        return false;
    }

    @BeforeEach
    void openArena() {
        random = new Random(42);
        arena = backend().newArena();
        guarded = new GuardedTensors(backend(), arena, aligned());
    }

    @AfterEach
    void closeArena() {
        arena.close();
    }

    @AfterAll
    void closeBackend() {
        if (backend() != null) { // else it could not be opened
            backend().close();
        }
    }

    // ---------------------------------------------------------------------------------------------- 8-bit rows

    @ParameterizedTest
    @CsvSource({
        "1,1,1",
        "2,2,1",
        "3,31,100",
        "5,33,1e-3",
        "31,80,1",
        "130,32,5",
        "2,1000,1",
        "9,1028,1",
        "3,5000,0.1",
        "1,8192,1"
    })
    void quantizeInt8(int rows, int c, float size) {
        float[] x = gaussian(rows * c, size);
        if (rows > 1) {
            Arrays.fill(x, c, 2 * c, 0f);
        }
        for (Quantization quantization : new Quantization[] {Quantization.BITNET, Quantization.B158}) {
            Int8Rows q = rounded(quantization, x, rows);
            assertRounded(q, x, rows, c);
        }
    }

    /** Ties go to the even number; the largest magnitude becomes 127 whatever its sign; tiny rows keep the smallest scale. */
    @Test
    void quantizingInt8BetweenTwoValues() {
        float[] x = {127, 0.5f, 1.5f, -0.5f, -1.5f, -127, 2.5f, 0, 1e-7f, -1e-7f, 0, 0, 0, 0, 0, 0};
        Int8Rows q = rounded(Quantization.B158, x, 2);
        assertThat(Arrays.copyOf(q.values().toBytes(), 8)).containsExactly(127, 0, 2, 0, -2, -127, 2, 0);
        assertThat(read(q.scales(), 2)).containsExactly(1, 1e-5f / 127);
        assertThat(readInts(q.sums(), 2)).containsExactly(2, 0);
    }

    @Test
    void aRowThatIsNotFiniteGivesNaN() {
        int c = 40;
        float[] x = gaussian(4 * c, 1);
        x[c + 7] = Float.NaN;
        x[2 * c + 9] = Float.NEGATIVE_INFINITY;
        for (Quantization quantization : new Quantization[] {Quantization.BITNET, Quantization.B158}) {
            Int8Rows q = rounded(quantization, x, 4);
            PackedMatrix matrix = random(quantization, 20, c, 1);
            float[] y = product(q, matrix, null, true, 4);
            for (int n = 0; n < 20; n++) {
                assertThat(y[n]).isFinite();
                assertThat(y[20 + n]).isNaN();
                assertThat(y[40 + n]).isNaN();
                assertThat(y[60 + n]).isFinite();
            }
        }
    }

    /** A norm and the rounding behind it in one pass give what the two give one after the other, to the last bit. */
    @ParameterizedTest
    @CsvSource({"1,32", "3,128", "5,33", "16,384", "2,1536", "2,1000", "3,3001", "2,4096"})
    void normsThatRound(int rows, int c) {
        Pass pass = Pass.evaluation(1, rows);
        Tensor x = guarded.rows(gaussian(rows * c, 3), rows, c);
        Tensor branch = guarded.rows(gaussian(rows * c, 1), rows, c);
        Tensor weight = guarded.of(gaussian(c, 1), c);
        Tensor bias = guarded.of(gaussian(c, 1), c);
        Tensor out = guarded.outputRows(DType.F32, rows, c);
        Tensor sum = guarded.outputRows(DType.F32, rows, c);
        Tensor stats = guarded.outputRows(DType.F32, rows, 2);
        Tensor inverse = guarded.outputRows(DType.F32, rows, 1);
        Int8Rows together = guarded.int8Rows(Quantization.B158, rows, c);
        Int8Rows apart = guarded.int8Rows(Quantization.B158, rows, c);
        QuantizeInt8Op round = new QuantizeInt8Op(out, apart);

        guarded.run(new RmsNormOp(x, weight, out, inverse, together), pass);
        guarded.run(new RmsNormOp(x, weight, out, inverse, null), pass);
        guarded.run(round, pass);
        assertEqual(together, apart, rows);

        guarded.run(new LayerNormOp(null, x, weight, bias, out, stats, together), pass);
        guarded.run(new LayerNormOp(null, x, weight, bias, out, stats, null), pass);
        guarded.run(round, pass);
        assertEqual(together, apart, rows);

        ResidualOp residual = new ResidualOp(x, branch, null, null, sum);
        guarded.run(new LayerNormOp(residual, sum, weight, bias, out, stats, together), pass);
        float[] sums = read(sum, rows * c);
        guarded.run(new LayerNormOp(residual, sum, weight, bias, out, stats, null), pass);
        guarded.run(round, pass);
        assertEqual(together, apart, rows);
        assertThat(sums).isEqualTo(read(sum, rows * c));
    }

    // ---------------------------------------------------------------------------------------------- products

    /** Any number of rows and columns, and of each number of tokens that takes another way. */
    @ParameterizedTest
    @CsvSource({
        "1,1,1",
        "1,16,128",
        "1,17,129",
        "2,32,32",
        "3,96,32",
        "4,33,300",
        "5,128,33",
        "7,31,257",
        "8,32,128",
        "9,65,127",
        "16,48,64",
        "17,16,512",
        "31,80,96",
        "33,100,200",
        "64,64,384",
        "65,24,130",
        "130,40,256",
        "300,20,40",
        "1,300,1000",
        "2,16000,140", // enough rows of weights to keep a GPU busy, so that fewer warps share the columns
        "65,6500,300",
        "1,65600,32"
    })
    void packedLinear(int rows, int out, int in) {
        guarded = guarded.withoutSpareRows();
        for (Quantization quantization : new Quantization[] {Quantization.BITNET, Quantization.B158}) {
            PackedMatrix matrix = random(quantization, out, in, 1);
            Int8Rows q = rounded(quantization, gaussian(rows * in, 1), rows);
            long[] sums = sums(q, matrix, rows);
            assertThat(product(unscaled(q, rows), unscaled(matrix), null, false, rows))
                    .as("the sums themselves, %s", quantization)
                    .isEqualTo(floats(sums));
        }
    }

    /** Scales for each row of x and for each matrix, bias and ReLU. */
    @ParameterizedTest
    @CsvSource({"1,48,40,3", "2,96,32,12", "9,48,40,3", "80,30,130,2", "200,96,32,12"})
    void packedLinearWithScalesBiasAndRelu(int rows, int out, int in, int matrices) {
        for (Quantization quantization : new Quantization[] {Quantization.BITNET, Quantization.B158}) {
            PackedMatrix matrix = random(quantization, out, in, matrices);
            Int8Rows q = rounded(quantization, gaussian(rows * in, 5), rows);
            long[] sums = sums(q, matrix, rows);
            float[] bias = gaussian(out, 1);
            float[] scales = read(q.scales(), rows);
            float[] rowScales = matrix.rowScales();
            for (boolean relu : new boolean[] {false, true}) {
                for (boolean withBias : new boolean[] {false, true}) {
                    float[] y = product(q, matrix, withBias ? bias : null, relu, rows);
                    for (int i = 0; i < rows * out; i++) {
                        double scaled = sums[i] * ((double) rowScales[i % out] * scales[i / out]);
                        double expected = scaled + (withBias ? bias[i % out] : 0);
                        assertThat((double) y[i])
                                .isCloseTo(
                                        relu ? Math.max(expected, 0) : expected, within(1e-6 * (Math.abs(scaled) + 1)));
                    }
                }
            }
        }
    }

    /** All magnitudes at their largest and all signs alike: the sum is 127 times the columns. */
    @ParameterizedTest
    @CsvSource({"1,6912", "9,6912", "80,2560", "1,100000", "5,131072"})
    void theLargestSums(int rows, int in) {
        for (Quantization quantization : new Quantization[] {Quantization.BITNET, Quantization.B158}) {
            int out = 24;
            byte[] codes = new byte[(int) PackedMatrix.bytes(quantization, out, in)];
            Arrays.fill(codes, (byte) (quantization == Quantization.BITNET ? 0xFF : 0xAA)); // all 1
            PackedMatrix matrix = new PackedMatrix(quantization, out, in, codes, new float[] {1});
            for (float sign : new float[] {1, -1}) {
                float[] x = new float[rows * in];
                Arrays.fill(x, sign);
                Int8Rows q = unscaled(rounded(quantization, x, rows), rows);
                float[] y = product(q, matrix, null, false, rows);
                assertThat(y).containsOnly(sign * 127 * in);
            }
        }
    }

    /** What is timed beside each other can be computed, and the device's clock goes forward meanwhile. */
    @ParameterizedTest
    @CsvSource({"1,16,128", "9,48,64", "70,20,256"})
    void productsToCompare(int rows, int out, int in) {
        DeviceClock clock = backend().newClock(arena, 3);
        Map<String, Long> bytes = new TreeMap<>();
        for (MatmulCandidate product : backend().products()) {
            if (!product.supports(rows, out, in)) {
                continue;
            }
            bytes.put(product.name(), product.weightBytes(out, in));
            List<Runnable> products = product.prepare(arena, out, in, 2).products(arena, rows);
            assertThat(products).hasSize(2);
            clock.mark(0);
            products.get(0).run();
            clock.mark(1);
            products.get(1).run();
            clock.mark(2);
            assertThat(clock.seconds(0, 1)).isNotNegative();
            assertThat(clock.seconds(0, 2)).isGreaterThanOrEqualTo(clock.seconds(1, 2));
        }
        assertThat(bytes.get("fp32")).isEqualTo(4L * out * in);
        assertThat(bytes.get("b1.58")).isEqualTo(PackedMatrix.bytes(Quantization.B158, out, in));
        assertThat(bytes.get("bitnet")).isEqualTo(PackedMatrix.bytes(Quantization.BITNET, out, in));
    }

    @Test
    void anotherMatrixIsNotWritten() {
        PackedWeights w = PackedWeights.allocate(arena, Quantization.B158, 32, 16);
        for (PackedMatrix other : List.of(
                PackedMatrix.pack(Quantization.B158, new float[16 * 16], 0, 16, 16, 1),
                PackedMatrix.pack(Quantization.B158, new float[32 * 15], 0, 32, 15, 1),
                PackedMatrix.of(Quantization.BITNET, 32, 16, filled(32 * 16, 1), 1))) {
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> w.write(other))
                    .withMessageContaining("give one of the same kind and sizes");
        }
        assertThat(w.codes().toBytes()).containsOnly((byte) 0);
    }

    // ---------------------------------------------------------------------------------------------- helpers

    private static byte[] filled(int n, int value) {
        byte[] bytes = new byte[n];
        Arrays.fill(bytes, (byte) value);
        return bytes;
    }

    private float[] product(Int8Rows q, PackedMatrix matrix, float[] bias, boolean relu, int rows) {
        PackedWeights w = PackedWeights.allocate(arena, matrix.quantization(), matrix.out(), matrix.in());
        w.write(matrix);
        Tensor added = bias == null ? null : guarded.of(bias, bias.length);
        Tensor y = guarded.outputRows(DType.F32, rows, matrix.out());
        multiply(guarded, new PackedLinearOp(q, w, added, relu, y), Pass.evaluation(1, rows));
        return read(y, rows * matrix.out());
    }

    /** The same rows, of scale 1. */
    private Int8Rows unscaled(Int8Rows q, int rows) {
        float[] ones = new float[rows];
        Arrays.fill(ones, 1f);
        return new Int8Rows(q.values(), guarded.rows(ones, rows, 1), q.sums());
    }

    private static PackedMatrix unscaled(PackedMatrix matrix) {
        return new PackedMatrix(matrix.quantization(), matrix.out(), matrix.in(), matrix.codes(), new float[] {1});
    }

    private static long[] sums(Int8Rows q, PackedMatrix matrix, int rows) {
        byte[] values = q.values().toBytes();
        long[] sums = new long[rows * matrix.out()];
        for (int n = 0; n < matrix.out(); n++) {
            for (int k = 0; k < matrix.in(); k++) {
                int weight = matrix.value(n, k);
                for (int m = 0; m < rows; m++) {
                    sums[m * matrix.out() + n] += weight * values[m * q.stride() + k];
                }
            }
        }
        return sums;
    }

    private static float[] floats(long[] values) {
        float[] floats = new float[values.length];
        for (int i = 0; i < floats.length; i++) {
            floats[i] = values[i];
        }
        return floats;
    }

    private PackedMatrix random(Quantization quantization, int out, int in, int matrices) {
        return PackedMatrix.pack(quantization, gaussian(out * in, 0.1f), 0, out, in, matrices);
    }

    private Int8Rows rounded(Quantization quantization, float[] x, int rows) {
        int c = x.length / rows;
        Int8Rows q = guarded.int8Rows(quantization, rows, c);
        guarded.run(new QuantizeInt8Op(guarded.rows(x, rows, c), q), Pass.evaluation(1, rows));
        return q;
    }

    private static void assertRounded(Int8Rows q, float[] x, int rows, int c) {
        byte[] values = q.values().toBytes();
        float[] scales = q.scales().toFloats();
        int[] sums = q.sums().toInts();
        for (int r = 0; r < rows; r++) {
            float largest = 1e-5f;
            for (int j = 0; j < c; j++) {
                largest = Math.max(largest, Math.abs(x[r * c + j]));
            }
            float scale = 127 / largest;
            int sum = 0;
            for (int j = 0; j < q.stride(); j++) {
                int expected = j < c ? (int) Math.rint(x[r * c + j] * scale) : 0;
                assertThat(values[r * q.stride() + j])
                        .as("row %d, column %d", r, j)
                        .isEqualTo((byte) expected);
                sum += expected;
            }
            assertThat(sums[r]).isEqualTo(sum);
            assertThat(scales[r]).isEqualTo(largest / 127);
        }
    }

    private static void assertEqual(Int8Rows actual, Int8Rows expected, int rows) {
        assertThat(Arrays.copyOf(actual.values().toBytes(), rows * actual.stride()))
                .isEqualTo(Arrays.copyOf(expected.values().toBytes(), rows * actual.stride()));
        assertThat(read(actual.scales(), rows)).isEqualTo(read(expected.scales(), rows));
        assertThat(readInts(actual.sums(), rows)).isEqualTo(readInts(expected.sums(), rows));
    }

    private float[] gaussian(int n, float size) {
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) random.nextGaussian() * size;
        }
        return values;
    }
}
