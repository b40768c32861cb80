package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.ReferenceOperations.doubles;
import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.backend.ReferenceOperations;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Attention of bfloat16 against {@link ReferenceOperations} of the same inputs, with tensors at multiples of 16 bytes and at
 * odd places.
 *
 * <p>Tolerances. Rounding to bfloat16 changes a number by up to U = 2^-8 of it. A sum whose terms were rounded so, each on
 * its own, is wrong by a random walk of steps of at most U / sqrt(3) on average: {@link #WALK} * U * sqrt(sum of the squares
 * of the terms) is more than five times what that makes. The result is rounded once more. What float32 adds, as in
 * {@code BackendOperations}, is 1e-6 * sqrt(k) of the largest element, and more where scores are large: a weight is as
 * uncertain as its score, of which float32 knows 7 digits.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
abstract class Bf16AttentionOperations {
    private static final double U = 1.0 / 256;
    private static final double WALK = 3;
    private static final double UNIT = 1e-6;
    private static final float DROPOUT = 0.3f;
    private static final long SEED = 0x9876_5432_10FE_DCBAL;
    private static final int PURPOSE = RandomStream.dropout(5);
    private static final int STEP = 77;
    /** Elements before a tensor: it begins at a multiple of 16 bytes, or does not. */
    private static final int[] PLACES = {8, 7};

    private final List<Guarded> inputs = new ArrayList<>();
    private Random random;
    private Arena arena;
    private int before;

    /** The backend to test, the same one at each call; closed after the last test. */
    protected abstract CudaBackend backend();

    @BeforeEach
    void openArena() {
        random = new Random(42);
        before = PLACES[0];
        arena = backend().newArena();
    }

    @AfterEach
    void closeArena() {
        inputs.forEach(Guarded::assertUnchanged); // no operation writes to its inputs
        inputs.clear();
        arena.close();
    }

    @AfterAll
    void closeBackend() {
        if (backend() != null) { // else it could not be opened
            backend().close();
        }
    }

    static Stream<int[]> sizes() {
        List<int[]> sizes = new ArrayList<>(); // batch, t, heads, head size
        for (int t : new int[] {1, 2, 31, 33, 80, 127, 256}) {
            sizes.add(new int[] {1, t, 2, 64});
            sizes.add(new int[] {2, t, 1, 8});
        }
        for (int headSize : new int[] {1, 16, 20, 24, 33, 64, 100, 128}) {
            sizes.add(new int[] {2, 33, 3, headSize});
            sizes.add(new int[] {1, 130, 1, headSize});
        }
        return sizes.stream();
    }

    @ParameterizedTest
    @MethodSource("sizes")
    void attention(int[] sizes) {
        for (int place : PLACES) {
            before = place;
            assertAttention(sizes[0], sizes[1], sizes[2], sizes[3], null, 0);
            assertAttention(sizes[0], sizes[1], sizes[2], sizes[3], dropout(), 3);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {7, 8, 65})
    void dropoutFarIntoALargeBatch(int t) {
        assertAttention(3, t, 2, 16, dropout(), 1_000_000_007L);
    }

    private void assertAttention(int batch, int t, int heads, int headSize, Dropout dropout, long firstSequence) {
        int width = heads * headSize;
        int rows = batch * t;
        poisonScratch(batch, t, heads, headSize);
        float[] qkv = gaussian(rows * 3 * width);
        float[] dout = gaussian(rows * width);
        double[] mask = dropout == null
                ? null
                : ReferenceOperations.dropoutMask(
                        DROPOUT, SEED, PURPOSE, STEP, firstSequence * heads * t * t, batch * heads * t * t);
        assertPass(qkv, dout, mask, dropout, firstSequence, batch, t, heads, headSize);
    }

    /** A pass forward and backward, twice, the second of which gives the same bits. */
    private void assertPass(
            float[] qkv,
            float[] dout,
            double[] mask,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize) {
        int width = heads * headSize;
        int rows = batch * t;
        Tensor tqkv = input(qkv);
        Tensor tdout = input(dout);
        float[][] first = null;
        for (int pass = 0; pass < 2; pass++) {
            Guarded out = output(rows * width);
            Guarded stats = new Guarded(DType.F32, poison(2 * rows * heads));
            Guarded dqkv = output(rows * 3 * width);
            backend().attention(tqkv, out.tensor, stats.tensor, dropout, firstSequence, batch, t, heads, headSize);
            float[][] results = {out.read(), stats.read(), null};
            backend()
                    .attentionGrad(
                            tqkv,
                            out.tensor,
                            stats.tensor,
                            tdout,
                            dqkv.tensor,
                            dropout,
                            firstSequence,
                            batch,
                            t,
                            heads,
                            headSize);
            results[2] = dqkv.read();
            if (first == null) {
                first = results;
            } else {
                assertThat(results).isDeepEqualTo(first);
            }
        }
        new Expected(doubles(qkv), doubles(dout), mask, batch, t, heads, headSize)
                .assertClose(first[0], first[1], first[2]);
    }

    /** What a pass should give, and how far from it bfloat16 may be. */
    private static final class Expected {
        private final double[] qkv;
        private final double[] dout;
        private final double[] mask;
        private final int batch;
        private final int t;
        private final int heads;
        private final int headSize;
        private final int width;
        private final ReferenceOperations.Attention forward;
        private final double[] dqkv;
        /** How wrong out may be, and dqkv. */
        private final double[] outError;

        private final double[] dqkvError;
        private double largestScore;

        Expected(double[] qkv, double[] dout, double[] mask, int batch, int t, int heads, int headSize) {
            this.qkv = qkv;
            this.dout = dout;
            this.mask = mask;
            this.batch = batch;
            this.t = t;
            this.heads = heads;
            this.headSize = headSize;
            width = heads * headSize;
            forward = ReferenceOperations.attention(qkv, mask, batch, t, heads, headSize);
            dqkv = ReferenceOperations.attentionGrad(qkv, dout, mask, batch, t, heads, headSize);
            outError = new double[forward.out().length];
            dqkvError = new double[dqkv.length];
            for (int b = 0; b < batch; b++) {
                for (int h = 0; h < heads; h++) {
                    findErrors(b, h);
                }
            }
        }

        /** Element d of the query (part 0), key (1) or value (2) of token i. */
        private int at(int b, int i, int part, int h, int d) {
            return ((b * t + i) * 3 + part) * width + h * headSize + d;
        }

        private int atOut(int b, int i, int h, int d) {
            return (b * t + i) * width + h * headSize + d;
        }

        private void findErrors(int b, int h) {
            double[] dqSquares = new double[t * headSize];
            double[] dkSquares = new double[t * headSize];
            double[] dvSquares = new double[t * headSize];
            double scale = 1 / Math.sqrt(headSize);
            for (int i = 0; i < t; i++) {
                int row = ((b * heads + h) * t + i) * t;
                double[] outSquares = new double[headSize];
                double[] meanKey = new double[headSize];
                double rowSum = 0; // sum(dout * out), and how wrong it is for an out that is
                double rowSumSquare = 0;
                for (int d = 0; d < headSize; d++) {
                    double g = dout[atOut(b, i, h, d)];
                    for (int j = 0; j <= i; j++) {
                        double weight = forward.weights()[row + j] * factor(row + j);
                        outSquares[d] += square(weight * qkv[at(b, j, 2, h, d)]);
                        meanKey[d] += forward.weights()[row + j] * qkv[at(b, j, 1, h, d)];
                        dvSquares[j * headSize + d] += square(weight * g);
                    }
                    double out = forward.out()[atOut(b, i, h, d)];
                    double error = WALK * U * Math.sqrt(outSquares[d]) + U * Math.abs(out);
                    outError[atOut(b, i, h, d)] = error;
                    rowSum += g * out;
                    rowSumSquare += square(g * error);
                }
                for (int j = 0; j <= i; j++) {
                    double weight = forward.weights()[row + j];
                    double dweight = 0;
                    double score = 0;
                    for (int d = 0; d < headSize; d++) {
                        dweight += dout[atOut(b, i, h, d)] * factor(row + j) * qkv[at(b, j, 2, h, d)];
                        score += scale * qkv[at(b, i, 0, h, d)] * qkv[at(b, j, 1, h, d)];
                    }
                    largestScore = Math.max(largestScore, Math.abs(score));
                    double rounded = square(WALK * U * weight * (dweight - rowSum));
                    double ofRow = square(weight) * rowSumSquare;
                    for (int d = 0; d < headSize; d++) {
                        dqSquares[i * headSize + d] += rounded * square(scale * qkv[at(b, j, 1, h, d)]);
                        dkSquares[j * headSize + d] += (rounded + ofRow) * square(scale * qkv[at(b, i, 0, h, d)]);
                    }
                }
                for (int d = 0; d < headSize; d++) {
                    dqSquares[i * headSize + d] += rowSumSquare * square(scale * meanKey[d]); // the same for each key
                }
            }
            for (int i = 0; i < t; i++) {
                for (int d = 0; d < headSize; d++) {
                    dqkvError[at(b, i, 0, h, d)] = Math.sqrt(dqSquares[i * headSize + d]);
                    dqkvError[at(b, i, 1, h, d)] = Math.sqrt(dkSquares[i * headSize + d]);
                    dqkvError[at(b, i, 2, h, d)] = WALK * U * Math.sqrt(dvSquares[i * headSize + d]);
                    for (int part = 0; part < 3; part++) {
                        int at = at(b, i, part, h, d);
                        dqkvError[at] += U * (Math.abs(dqkv[at]) + dqkvError[at]);
                    }
                }
            }
        }

        private double factor(int element) {
            return mask == null ? 1 : mask[element];
        }

        void assertClose(float[] out, float[] stats, float[] dqkv) {
            double k = (t + headSize) * square(1 + largestScore / 10);
            Bf16AttentionOperations.assertClose("out", out, forward.out(), outError, k);
            float[] lse = new float[stats.length / 2]; // from the maximum and the inverse of the denominator after that
            for (int i = 0; i < lse.length; i++) {
                lse[i] = (float) (stats[2 * i] - Math.log(stats[2 * i + 1]));
            }
            Bf16AttentionOperations.assertClose("lse", lse, forward.lse(), new double[lse.length], k);
            Bf16AttentionOperations.assertClose("dqkv", dqkv, this.dqkv, dqkvError, k);
        }
    }

    private static void assertClose(String name, float[] actual, double[] expected, double[] errors, double k) {
        double float32 = UNIT
                * Math.sqrt(k)
                * Arrays.stream(expected).map(Math::abs).max().orElseThrow();
        assertThat(actual).hasSameSizeAs(expected);
        for (int i = 0; i < expected.length; i++) {
            double tolerance = errors[i] + float32;
            if (!(Math.abs(actual[i] - expected[i]) <= tolerance)) { // NaN is not close to anything
                assertThat((double) actual[i])
                        .as("%s[%d] of %d, tolerance %s", name, i, expected.length, tolerance)
                        .isEqualTo(expected[i]);
            }
        }
    }

    /** Leaves NaN in the memory that the backend keeps between operations: it must not show in what comes next. */
    private void poisonScratch(int batch, int t, int heads, int headSize) {
        int n = batch * t * heads * headSize;
        Guarded result = output(3 * n);
        backend()
                .attentionGrad(
                        input(poison(3 * n)),
                        input(poison(n)),
                        new Guarded(DType.F32, poison(2 * batch * t * heads)).tensor,
                        input(poison(n)),
                        result.tensor,
                        dropout(),
                        0,
                        batch,
                        t,
                        heads,
                        headSize);
        assertThat(result.read()).containsOnly(Float.NaN);
    }

    @ParameterizedTest
    @CsvSource({"7,0", "7,1", "65,80", "65,8192", "130,8192"})
    void attentionToSpecialScores(int t, float size) {
        int headSize = 8;
        float[] qkv = gaussian(t * 3 * headSize);
        for (int i = 0; i < t; i++) {
            for (int d = 0; d < headSize; d++) {
                qkv[i * 3 * headSize + d] = size / 8;
                qkv[i * 3 * headSize + headSize + d] = i % 3 - 1;
            }
        }
        assertPass(qkv, gaussian(t * headSize), null, null, 0, 1, t, 1, headSize);
    }

    @ParameterizedTest
    @CsvSource({"7,2,3", "33,1,8", "130,2,64", "256,1,64", "80,1,128"})
    void attentionSeesNothingThatComesLater(int t, int heads, int headSize) {
        int width = heads * headSize;
        float[] qkv = gaussian(t * 3 * width);
        float[] dout = gaussian(t * width);
        for (int changed : new int[] {1, t / 2, t - 1}) {
            float[] other = qkv.clone();
            float[] otherDout = dout.clone();
            float[] late = dout.clone();
            int before = changed * width;
            for (int i = 3 * before; i < other.length; i++) {
                other[i] = -2 * other[i];
            }
            for (int i = before; i < otherDout.length; i++) {
                otherDout[i] = -2 * otherDout[i];
            }
            Arrays.fill(late, 0, before, 0f);

            float[][] results = pass(qkv, dout, t, heads, headSize);
            float[][] others = pass(other, otherDout, t, heads, headSize);
            assertThat(Arrays.copyOf(others[0], before)).isEqualTo(Arrays.copyOf(results[0], before));
            assertThat(others[0][before]).isNotEqualTo(results[0][before]);
            float[] lateGrad = pass(qkv, late, t, heads, headSize)[1];
            for (int i = 0; i < changed; i++) {
                int query = i * 3 * width;
                assertThat(Arrays.copyOfRange(others[1], query, query + width))
                        .as("gradient of query %d, whose keys are the same", i)
                        .isEqualTo(Arrays.copyOfRange(results[1], query, query + width));
                assertThat(Arrays.copyOfRange(lateGrad, query, query + width))
                        .as("gradient of query %d, whose output has none", i)
                        .containsOnly(0f);
            }
        }
    }

    /** out and dqkv. */
    private float[][] pass(float[] qkv, float[] dout, int t, int heads, int headSize) {
        int width = heads * headSize;
        Tensor tqkv = input(qkv);
        Guarded out = output(t * width);
        Guarded stats = new Guarded(DType.F32, poison(2 * t * heads));
        Guarded dqkv = output(t * 3 * width);
        backend().attention(tqkv, out.tensor, stats.tensor, null, 0, 1, t, heads, headSize);
        backend()
                .attentionGrad(
                        tqkv, out.tensor, stats.tensor, input(dout), dqkv.tensor, null, 0, 1, t, heads, headSize);
        return new float[][] {out.read(), dqkv.read()};
    }

    @ParameterizedTest
    @ValueSource(ints = {7, 65})
    void nanAndInfinityReachTheirOwnRow(int t) {
        int headSize = 3;
        for (float special : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
            for (int part = 0; part < 3; part++) {
                float[] qkv = gaussian(t * 3 * headSize);
                int row = t / 2;
                qkv[3 * row * headSize] = 1; // of which a key of infinity makes a score of infinity
                qkv[(3 * row + part) * headSize] = special;
                float value = pass(qkv, gaussian(t * headSize), t, 1, headSize)[0][row * headSize];
                assertThat(Float.isNaN(value) || Float.isInfinite(value))
                        .as("%s in part %d gave %s", special, part, value)
                        .isTrue();
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,0,1,1,1",
        "2,1,7,8,2,3",
        "1,1,255,256,3,64",
        "2,1,300,400,1,128",
        "1,1,70,80,1,16",
        "1,1,70,80,1,24",
        "3,5,0,5,6,1",
        "2,5,3,9,1,33",
        "1,8,57,65,2,16",
        "2,9,129,140,2,8",
        "1,65,0,65,1,3",
        "1,100,100,201,1,64"
    })
    void attentionCached(int batch, int t, int position, int context, int heads, int headSize) {
        int width = heads * headSize;
        for (int place : PLACES) {
            before = place;
            float[] qkv = gaussian(batch * t * 3 * width);
            float[] cache = gaussian(batch * context * 2 * width);
            for (int b = 0; b < batch; b++) { // what comes later has never been written
                Arrays.fill(cache, (b * context + position) * 2 * width, (b + 1) * context * 2 * width, Float.NaN);
            }
            Guarded keysAndValues = new Guarded(DType.BF16, cache);
            Guarded out = output(batch * t * width);
            Tensor at = ints(position);
            backend()
                    .attentionCached(
                            input(qkv), keysAndValues.tensor, at, out.tensor, batch, t, context, heads, headSize);
            double[] expectedCache = doubles(cache);
            double[] expected = ReferenceOperations.attentionCached(
                    doubles(qkv), expectedCache, batch, t, position, context, heads, headSize);
            // The error of the last rows of attention over all tokens
            int all = position + t;
            double[] whole = new double[batch * all * 3 * width];
            double[] nothing = new double[batch * all * width];
            for (int b = 0; b < batch; b++) {
                for (int j = 0; j < all; j++) {
                    int token = (b * all + j) * 3 * width;
                    System.arraycopy(expectedCache, (b * context + j) * 2 * width, whole, token + width, 2 * width);
                    if (j >= position) {
                        double[] queries = doubles(qkv);
                        System.arraycopy(queries, (b * t + j - position) * 3 * width, whole, token, width);
                    }
                }
            }
            double[] wholeError = new Expected(whole, nothing, null, batch, all, heads, headSize).outError;
            double[] errors = new double[expected.length];
            for (int b = 0; b < batch; b++) {
                System.arraycopy(wholeError, (b * all + position) * width, errors, b * t * width, t * width);
            }
            assertClose("out", out.read(), expected, errors, position + t + headSize);
            assertThat(doubles(keysAndValues.read())).as("cache").isEqualTo(expectedCache);
        }
    }

    // ---------------------------------------------------------------------------------------------- helpers

    /** A tensor amid NaN that notices when an operation writes beside it. */
    private final class Guarded {
        private static final int AFTER = 5;

        private final int start = before;
        private final int n;
        private final Tensor whole;
        private final Tensor tensor;
        private final float[] input;

        /** One that holds these values. */
        Guarded(DType dtype, float[] values) {
            n = values.length;
            input = values;
            float[] written = new float[start + n + AFTER];
            Arrays.fill(written, Float.NaN);
            System.arraycopy(values, 0, written, start, n);
            whole = arena.allocate(dtype, Shape.of(written.length));
            whole.write(written);
            tensor = whole.slice(start, Shape.of(n));
        }

        /** The elements now, once nothing beside them has changed. */
        float[] read() {
            float[] now = whole.toFloats();
            for (int i = 0; i < now.length; i++) {
                if (i < start || i >= start + n) {
                    assertThat(now[i]).as("element %d", i - start).isNaN();
                }
            }
            return Arrays.copyOfRange(now, start, start + n);
        }

        /** Fails if anything was written here since the tensor was made. */
        void assertUnchanged() {
            assertThat(read()).as("an input").isEqualTo(input);
        }
    }

    private Tensor input(float[] values) {
        Guarded guarded = new Guarded(DType.BF16, values);
        inputs.add(guarded);
        return guarded.tensor;
    }

    private Guarded output(int n) {
        return new Guarded(DType.BF16, poison(n));
    }

    private static float[] poison(int n) {
        float[] values = new float[n];
        Arrays.fill(values, Float.NaN);
        return values;
    }

    /** Numbers that bfloat16 has. */
    private float[] gaussian(int n) {
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = Float.intBitsToFloat(Float.floatToRawIntBits((float) random.nextGaussian()) & 0xFFFF_0000);
        }
        return values;
    }

    private static double square(double x) {
        return x * x;
    }

    private Tensor ints(int... values) {
        Tensor tensor = arena.allocate(DType.I32, Shape.of(values.length));
        tensor.write(values);
        return tensor;
    }

    private Dropout dropout() {
        return new Dropout(DROPOUT, new RandomStream(SEED, PURPOSE, ints(STEP)));
    }
}
