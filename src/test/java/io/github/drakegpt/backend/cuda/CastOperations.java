package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.ops.CopyOp;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The kernels between float32 and bfloat16, bit for bit. A bfloat16 is the upper half of a float32. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
abstract class CastOperations {
    private static final int INFINITY = 0x7F80;

    private Arena arena;

    /** The backend to test, the same one at each call; closed after the last test. */
    protected abstract CudaBackend backend();

    @BeforeEach
    void openArena() {
        arena = backend().newArena();
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

    @Test
    void everyBfloat16IsAFloat32() {
        char[] all = new char[1 << 16];
        for (int i = 0; i < all.length; i++) {
            all[i] = (char) i;
        }
        assertWidened(all, 0, 0);
    }

    @ParameterizedTest
    @CsvSource({"1,0,0", "7,0,0", "8,1,0", "9,0,1", "2047,3,2", "2048,8,4", "2049,1,1", "4099,8,3"})
    void widensAtAnyLengthAndOffset(int n, int from, int to) {
        Random random = new Random(n);
        char[] values = new char[n];
        for (int i = 0; i < n; i++) {
            values[i] = (char) random.nextInt(1 << 16);
        }
        assertWidened(values, from, to);
    }

    private void assertWidened(char[] values, int from, int to) {
        int n = values.length;
        Tensor x = arena.allocate(DType.BF16, Shape.of(from + n)).slice(from, Shape.of(n));
        x.storage().write(x.offset(), values, 0, n);
        Tensor whole = arena.allocate(DType.F32, Shape.of(to + n + 2));
        backend().copy(new CopyOp(x, whole.slice(to, Shape.of(n))));
        float[] actual = whole.toFloats();
        for (int i = 0; i < actual.length; i++) {
            boolean beside = i < to || i >= to + n;
            int expected = beside ? 0 : values[i - to] << 16;
            if (Float.isNaN(Float.intBitsToFloat(expected))) {
                assertThat(actual[i]).as("element %d", i - to).isNaN();
            } else {
                assertThat(Float.floatToRawIntBits(actual[i]))
                        .as("element %d", i - to)
                        .isEqualTo(expected);
            }
        }
    }

    /** Around each bfloat16, of every exponent down to the subnormal ones: itself, up to the tie, and beyond it. */
    @Test
    void roundsToTheNearestAndTiesToEven() {
        int[] below = {0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF};
        float[] values = new float[below.length << 16];
        for (int i = 0; i < values.length; i++) {
            values[i] = Float.intBitsToFloat(i / below.length << 16 | below[i % below.length]);
        }
        assertNarrowed(values, 0, 0);
    }

    @Test
    void theLargestBecomeInfinityAndNanStaysNan() {
        assertNarrowed(
                new float[] {
                    Float.MAX_VALUE,
                    -Float.MAX_VALUE,
                    Float.intBitsToFloat(0x7F7F_7FFF), // the largest that does not
                    Float.POSITIVE_INFINITY,
                    Float.NEGATIVE_INFINITY,
                    Float.NaN,
                    Float.intBitsToFloat(0x7F80_0001), // NaN by its last bit alone
                    Float.intBitsToFloat(0xFFFF_FFFF),
                    Float.MIN_VALUE,
                    -Float.MIN_VALUE,
                    -0f
                },
                0,
                0);
    }

    @ParameterizedTest
    @CsvSource({"1,0,0", "7,0,0", "8,1,0", "9,0,1", "2047,3,2", "2048,4,8", "2049,1,1", "4099,3,8"})
    void narrowsAtAnyLengthAndOffset(int n, int from, int to) {
        Random random = new Random(n);
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = Float.intBitsToFloat(random.nextInt());
        }
        assertNarrowed(values, from, to);
    }

    private void assertNarrowed(float[] values, int from, int to) {
        int n = values.length;
        Tensor x = arena.allocate(DType.F32, Shape.of(from + n)).slice(from, Shape.of(n));
        x.write(values);
        Tensor whole = arena.allocate(DType.BF16, Shape.of(to + n + 2));
        backend().copy(new CopyOp(x, whole.slice(to, Shape.of(n))));
        char[] actual = new char[to + n + 2];
        whole.storage().read(0, actual, 0, actual.length);
        for (int i = 0; i < actual.length; i++) {
            boolean beside = i < to || i >= to + n;
            float value = beside ? 0 : values[i - to];
            if (Float.isNaN(value)) {
                assertThat(actual[i] & 0x7FFF).as("NaN, element %d", i - to).isGreaterThan(INFINITY);
            } else {
                assertThat((int) actual[i]).as("%a, element %d", value, i - to).isEqualTo(narrowed(value));
            }
        }
    }

    /** Of the two bfloat16 beside a number the nearer one, or the even one: in float64, which holds all of them. */
    private static int narrowed(float value) {
        int bits = Float.floatToRawIntBits(value);
        int toZero = bits >>> 16;
        int away = toZero + 1; // infinity after the largest, which counts as the next power of two
        double lower = widened(toZero);
        double upper = (away & 0x7FFF) == INFINITY ? Math.copySign(0x1p128, value) : widened(away);
        double toLower = Math.abs(value - lower);
        double toUpper = Math.abs(upper - value);
        return toLower < toUpper || Float.isInfinite(value) || toLower == toUpper && toZero % 2 == 0 ? toZero : away;
    }

    private static double widened(int bits) {
        return Float.intBitsToFloat(bits << 16);
    }
}
