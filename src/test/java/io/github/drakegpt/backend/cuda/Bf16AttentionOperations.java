package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.GuardedTensors.read;
import static io.github.drakegpt.backend.ReferenceOperations.doubles;
import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.backend.GuardedTensors;
import io.github.drakegpt.backend.ReferenceOperations;
import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
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

    private Random random;
    private Arena arena;
    private GuardedTensors guarded;

    /** A batch of sequences of t tokens, and heads of one size. */
    private record Sizes(int batch, int t, int heads, int headSize) {
        int rows() {
            return batch * t;
        }

        int width() {
            return heads * headSize;
        }

        /** Elements of the weights. */
        int weights() {
            return rows() * heads * t;
        }

        /** Without dropout. */
        Pass pass() {
            return Pass.evaluation(batch, t);
        }
    }

    /** The backend to test, the same one at each call; closed after the last test. */
    protected abstract CudaBackend backend();

    @BeforeEach
    void openArena() {
        random = new Random(42);
        arena = backend().newArena();
        place(true);
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

    /** Tensors that are made from now on begin at multiples of 16 bytes, or do not. */
    private void place(boolean aligned) {
        guarded = new GuardedTensors(backend(), arena, aligned);
    }

    static Stream<Sizes> sizes() {
        List<Sizes> sizes = new ArrayList<>();
        for (int t : new int[] {1, 2, 31, 33, 80, 127, 256}) {
            sizes.add(new Sizes(1, t, 2, 64));
            sizes.add(new Sizes(2, t, 1, 8));
        }
        for (int headSize : new int[] {1, 16, 20, 24, 33, 64, 100, 128}) {
            sizes.add(new Sizes(2, 33, 3, headSize));
            sizes.add(new Sizes(1, 130, 1, headSize));
        }
        return sizes.stream();
    }

    @ParameterizedTest
    @MethodSource("sizes")
    void attention(Sizes sizes) {
        for (boolean aligned : new boolean[] {true, false}) {
            place(aligned);
            assertAttention(sizes, sizes.pass());
            assertAttention(sizes, Pass.training(sizes.batch, sizes.t, 3));
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {7, 8, 65})
    void dropoutFarIntoALargeBatch(int t) {
        assertAttention(new Sizes(3, t, 2, 16), Pass.training(3, t, 1_000_000_007L));
    }

    private void assertAttention(Sizes sizes, Pass pass) {
        poisonScratch(sizes);
        float[] qkv = gaussian(sizes.rows() * 3 * sizes.width());
        float[] dout = gaussian(sizes.rows() * sizes.width());
        long first = pass.firstSequence() * sizes.heads * sizes.t * sizes.t;
        double[] mask = pass.training()
                ? ReferenceOperations.dropoutMask(DROPOUT, SEED, PURPOSE, STEP, first, sizes.weights())
                : null;
        assertPass(qkv, dout, mask, sizes, pass);
    }

    /** A pass forward and backward, twice, the second of which gives the same bits. */
    private void assertPass(float[] qkv, float[] dout, double[] mask, Sizes sizes, Pass pass) {
        float[][] first = pass(qkv, dout, sizes, pass);
        assertThat(pass(qkv, dout, sizes, pass)).isDeepEqualTo(first);
        new Expected(doubles(qkv), doubles(dout), mask, sizes).assertClose(first[0], first[1], first[2]);
    }

    /** out, stats and dqkv. */
    private float[][] pass(float[] qkv, float[] dout, Sizes sizes, Pass pass) {
        AttentionOp forward = forward(qkv, sizes);
        Tensor dqkv = guarded.outputRows(DType.BF16, sizes.rows(), 3 * sizes.width());
        guarded.run(forward, pass);
        guarded.run(new AttentionGradOp(forward, rows(dout, sizes), dqkv), pass);
        return new float[][] {
            read(forward.out(), dout.length),
            read(forward.stats(), 2 * sizes.rows() * sizes.heads),
            read(dqkv, qkv.length)
        };
    }

    /** Dropout is of passes that train. */
    private AttentionOp forward(float[] qkv, Sizes sizes) {
        Dropout dropout = new Dropout(DROPOUT, new RandomStream(SEED, PURPOSE, guarded.ints(STEP)));
        return new AttentionOp(
                rows(qkv, sizes),
                guarded.outputRows(DType.BF16, sizes.rows(), sizes.width()),
                guarded.outputRows(DType.F32, sizes.rows(), 2 * sizes.heads),
                dropout,
                sizes.heads);
    }

    /** What a pass should give, and how far from it bfloat16 may be. */
    private static final class Expected {
        private final double[] qkv;
        private final double[] dout;
        private final double[] mask;
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

        Expected(double[] qkv, double[] dout, double[] mask, Sizes sizes) {
            this.qkv = qkv;
            this.dout = dout;
            this.mask = mask;
            int batch = sizes.batch;
            t = sizes.t;
            heads = sizes.heads;
            headSize = sizes.headSize;
            width = sizes.width();
            forward = ReferenceOperations.attention(qkv, mask, batch, t, heads);
            dqkv = ReferenceOperations.attentionGrad(qkv, dout, mask, batch, t, heads);
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
    private void poisonScratch(Sizes sizes) {
        int n = sizes.rows() * sizes.width();
        AttentionOp forward = forward(poison(3 * n), sizes);
        forward.out().write(poison(n));
        forward.stats().write(poison(2 * sizes.rows() * sizes.heads));
        Tensor dqkv = guarded.outputRows(DType.BF16, sizes.rows(), 3 * sizes.width());
        guarded.run(new AttentionGradOp(forward, rows(poison(n), sizes), dqkv), Pass.training(sizes.batch, sizes.t, 0));
        assertThat(read(dqkv, 3 * n)).containsOnly(Float.NaN);
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
        Sizes sizes = new Sizes(1, t, 1, headSize);
        assertPass(qkv, gaussian(t * headSize), null, sizes, sizes.pass());
    }

    @ParameterizedTest
    @CsvSource({"7,2,3", "33,1,8", "130,2,64", "256,1,64", "80,1,128"})
    void attentionSeesNothingThatComesLater(int t, int heads, int headSize) {
        Sizes sizes = new Sizes(1, t, heads, headSize);
        int width = sizes.width();
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

            float[][] results = pass(qkv, dout, sizes, sizes.pass());
            float[][] others = pass(other, otherDout, sizes, sizes.pass());
            assertThat(Arrays.copyOf(others[0], before)).isEqualTo(Arrays.copyOf(results[0], before));
            assertThat(others[0][before]).isNotEqualTo(results[0][before]);
            float[] lateGrad = pass(qkv, late, sizes, sizes.pass())[2];
            for (int i = 0; i < changed; i++) {
                int query = i * 3 * width;
                assertThat(Arrays.copyOfRange(others[2], query, query + width))
                        .as("gradient of query %d, whose keys are the same", i)
                        .isEqualTo(Arrays.copyOfRange(results[2], query, query + width));
                assertThat(Arrays.copyOfRange(lateGrad, query, query + width))
                        .as("gradient of query %d, whose output has none", i)
                        .containsOnly(0f);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {7, 65})
    void nanAndInfinityReachTheirOwnRow(int t) {
        int headSize = 3;
        Sizes sizes = new Sizes(1, t, 1, headSize);
        for (float special : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
            for (int part = 0; part < 3; part++) {
                float[] qkv = gaussian(t * 3 * headSize);
                int row = t / 2;
                qkv[3 * row * headSize] = 1; // of which a key of infinity makes a score of infinity
                qkv[(3 * row + part) * headSize] = special;
                float[] out = pass(qkv, gaussian(t * headSize), sizes, sizes.pass())[0];
                float value = out[row * headSize];
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
        Sizes sizes = new Sizes(batch, t, heads, headSize);
        for (boolean aligned : new boolean[] {true, false}) {
            place(aligned);
            float[] qkv = gaussian(batch * t * 3 * width);
            float[] cache = gaussian(batch * context * 2 * width);
            for (int b = 0; b < batch; b++) { // what comes later has never been written
                Arrays.fill(cache, (b * context + position) * 2 * width, (b + 1) * context * 2 * width, Float.NaN);
            }
            Tensor keysAndValues = guarded.of(DType.BF16, cache, batch, context, 2 * width);
            Tensor out = guarded.outputRows(DType.BF16, sizes.rows(), width);
            guarded.run(
                    new AttentionCachedOp(rows(qkv, sizes), keysAndValues, guarded.ints(position), out, heads),
                    Pass.generation(batch, t));
            double[] expectedCache = doubles(cache);
            double[] expected =
                    ReferenceOperations.attentionCached(doubles(qkv), expectedCache, batch, t, position, heads);
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
            double[] wholeError = new Expected(whole, nothing, null, new Sizes(batch, all, heads, headSize)).outError;
            double[] errors = new double[expected.length];
            for (int b = 0; b < batch; b++) {
                System.arraycopy(wholeError, (b * all + position) * width, errors, b * t * width, t * width);
            }
            assertClose("out", read(out, expected.length), expected, errors, position + t + headSize);
            assertThat(doubles(keysAndValues.toFloats())).as("cache").isEqualTo(expectedCache);
        }
    }

    // ---------------------------------------------------------------------------------------------- helpers

    private Tensor rows(float[] values, Sizes sizes) {
        return guarded.rows(DType.BF16, values, sizes.rows(), values.length / sizes.rows());
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
}
