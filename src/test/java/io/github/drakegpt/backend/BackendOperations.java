package io.github.drakegpt.backend;

import static io.github.drakegpt.backend.GuardedTensors.read;
import static io.github.drakegpt.backend.ReferenceOperations.doubles;
import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.ops.SoftmaxGradOp;
import io.github.drakegpt.ops.SoftmaxOp;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Every operation of a backend against {@link ReferenceOperations}: each backend's test extends this class.
 *
 * <p>Tolerances. An element that is made of k products or sums of float32 collects k rounding errors of up to 6e-8 each,
 * which add up like a random walk; 1e-6 * sqrt(k) leaves room for the order of the sums, and for exp and division. It is
 * relative to the largest element of the tensor, since single ones may be zero by cancellation.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
public abstract class BackendOperations {
    private static final double UNIT = 1e-6;
    private static final float DROPOUT = 0.3f;
    private static final long SEED = 0x9876_5432_10FE_DCBAL;
    private static final int PURPOSE = RandomStream.dropout(5);
    private static final int STEP = 77;

    private final List<GuardedTensor> inputs = new ArrayList<>();
    private Random random;
    private Arena arena;
    private GuardedTensors guarded;

    /** The backend to test, the same one at each call; closed after the last test. */
    protected abstract Backend backend();

    /** Whether tensors begin at multiples of 16 bytes; at odd places otherwise. */
    protected boolean aligned() {
        return false;
    }

    @BeforeEach
    void openArena() {
        GuardedTensor.placeAt(aligned() ? GuardedTensor.ALIGNED : GuardedTensor.ODD);
        random = new Random(42);
        arena = backend().newArena();
        guarded = new GuardedTensors(backend(), arena, aligned());
    }

    @AfterEach
    void closeArena() {
        inputs.clear();
        arena.close();
    }

    @AfterAll
    void closeBackend() {
        if (backend() != null) { // else it could not be opened
            backend().close();
        }
    }

    // ---------------------------------------------------------------------------------------------- layers

    static Stream<int[]> linearSizes() {
        List<int[]> sizes = new ArrayList<>();
        for (int rows : new int[] {1, 2, 31, 80}) {
            for (int in : new int[] {1, 2, 33, 127}) {
                for (int out : new int[] {1, 31, 80}) {
                    sizes.add(new int[] {rows, in, out});
                }
            }
        }
        sizes.addAll(List.of(
                new int[] {1, 1000, 384}, new int[] {2, 384, 1000}, new int[] {127, 384, 33}, new int[] {1000, 2, 127
                }));
        return sizes.stream();
    }

    @ParameterizedTest
    @MethodSource("linearSizes")
    void linear(int[] sizes) {
        int rows = sizes[0];
        int in = sizes[1];
        int out = sizes[2];
        float[] x = gaussian(rows * in);
        float[] w = gaussian(out * in);
        float[] bias = gaussian(out);
        Tensor tx = larger(x);
        Tensor tw = of(w);
        Tensor tbias = of(bias);
        for (boolean relu : new boolean[] {false, true}) {
            for (boolean withBias : new boolean[] {false, true}) {
                GuardedTensor y = GuardedTensor.output(arena, rows * out);
                backend().linear(tx, tw, withBias ? tbias : null, relu, y.tensor(), rows, in, out);
                double[] expected = ReferenceOperations.linear(
                        doubles(x), doubles(w), withBias ? doubles(bias) : null, relu, rows, in, out);
                assertClose("y", y.read(), expected, in);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("linearSizes")
    void linearGrad(int[] sizes) {
        int rows = sizes[0];
        int in = sizes[1];
        int out = sizes[2];
        float[] x = gaussian(rows * in);
        float[] w = gaussian(out * in);
        float[] dy = gaussian(rows * out);
        Tensor tx = larger(x);
        Tensor tw = of(w);
        Tensor tdy = larger(dy);
        ReferenceOperations.LinearGrad expected =
                ReferenceOperations.linearGrad(doubles(x), doubles(w), doubles(dy), rows, in, out);
        for (boolean all : new boolean[] {true, false}) {
            GuardedTensor dx = GuardedTensor.output(arena, rows * in);
            GuardedTensor dw = GuardedTensor.exactOutput(arena, out * in);
            GuardedTensor dbias = GuardedTensor.exactOutput(arena, out);
            backend()
                    .linearGrad(
                            tx,
                            tw,
                            tdy,
                            all ? dx.tensor() : null,
                            dw.tensor(),
                            all ? dbias.tensor() : null,
                            rows,
                            in,
                            out);
            assertClose("dw", dw.read(), expected.dw(), rows);
            if (all) {
                assertClose("dx", dx.read(), expected.dx(), out);
                assertClose("dbias", dbias.read(), expected.dbias(), rows);
            } else {
                dx.assertUnchanged();
                dbias.assertUnchanged();
            }
        }
    }

    @Test
    void reluAndItsGradientOfSpecialValues() {
        float[] before = {1, -1, 0f, -0f, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, 1e-30f, -1e-30f, 1e30f};
        int n = before.length;
        // Once as the bias, once as the weight: a sum with 0 may turn -0 into 0.
        for (boolean asBias : new boolean[] {true, false}) {
            for (int rows = 1; rows <= 2; rows++) {
                Tensor x = of(filled(rows, 1));
                Tensor w = of(asBias ? new float[n] : before);
                GuardedTensor y = GuardedTensor.output(arena, rows * n);
                backend().linear(x, w, asBias ? of(before) : null, true, y.tensor(), rows, 1, n);
                float[] relu = y.read();
                GuardedTensor dy = GuardedTensor.larger(arena, filled(rows * n, 3));
                backend().reluGrad(y.tensor(), dy.tensor(), null, rows, n);
                float[] grad = dy.read();
                for (int i = 0; i < rows * n; i++) {
                    float value = before[i % n];
                    assertThat(relu[i]).as("relu(%s)", value).isEqualTo(value > 0 ? value : 0f + relu[i] * 0);
                    assertThat(grad[i]).as("gradient at %s", value).isEqualTo(value > 0 ? 3f : 0f);
                }
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"1,1", "2,2", "1,31", "33,1", "31,80", "5,127", "129,8", "300,33", "3,1000"})
    void reluGrad(int rows, int c) {
        int n = rows * c;
        float[] y = gaussian(n);
        for (int i = 0; i < n; i++) {
            y[i] = Math.max(y[i], 0);
        }
        float[] dy = gaussian(n);
        double[] expected = ReferenceOperations.reluGrad(doubles(y), doubles(dy));
        for (boolean biased : new boolean[] {true, false}) {
            GuardedTensor grad = GuardedTensor.larger(arena, dy);
            GuardedTensor dbias = GuardedTensor.exactOutput(arena, c);
            backend().reluGrad(larger(y), grad.tensor(), biased ? dbias.tensor() : null, rows, c);
            assertExact("dy", grad.read(), expected);
            if (biased) {
                assertClose("dbias", dbias.read(), ReferenceOperations.columnSums(expected, rows, c), rows);
            } else {
                dbias.assertUnchanged();
            }
        }
    }

    @Test
    void nanAndInfinityPassLinearAndReluAndStayInTheirRow() {
        int rows = 5;
        int in = 33;
        int out = 31;
        for (float special : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
            float[] x = gaussian(rows * in);
            x[3 * in + 8] = special;
            float[] w = gaussian(out * in);
            GuardedTensor y = GuardedTensor.output(arena, rows * out);
            backend().linear(larger(x), of(w), of(gaussian(out)), true, y.tensor(), rows, in, out);
            float[] values = y.read();
            for (int i = 0; i < values.length; i++) {
                boolean expected = i / out == 3 && (Float.isNaN(special) || w[i % out * in + 8] > 0);
                assertThat(Float.isNaN(values[i]) || Float.isInfinite(values[i]))
                        .as("element %d of %s", i, special)
                        .isEqualTo(expected);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,1,0,11",
        "2,7,31,0,11",
        "3,8,33,5,11",
        "1,1,384,12,11",
        "5,2,2,3,11",
        "2,33,80,1,11",
        "7,80,5,0,3",
        "2,3,1,0,65536"
    })
    void embedding(int batch, int t, int c, int position, int vocabSize) {
        int context = position + t + 2;
        int[] tokens = tokens(batch * t, vocabSize);
        float[] wte = gaussian(vocabSize * c);
        float[] wpe = gaussian(context * c);
        Tensor ids = ints(tokens);
        for (boolean positions : new boolean[] {true, false}) {
            GuardedTensor out = GuardedTensor.output(arena, batch * t * c);
            Tensor at = position == 0 ? null : ints(position);
            backend().embedding(ids, of(wte), positions ? of(wpe) : null, at, out.tensor(), batch, t, c);
            double[] expected = ReferenceOperations.embedding(
                    tokens, doubles(wte), positions ? doubles(wpe) : null, batch, t, c, position);
            assertClose("out", out.read(), expected, 1);

            float[] dout = gaussian(batch * t * c);
            GuardedTensor dwte = GuardedTensor.exactOutput(arena, vocabSize * c);
            GuardedTensor dwpe = GuardedTensor.exactOutput(arena, context * c);
            backend().embeddingGrad(ids, larger(dout), dwte.tensor(), positions ? dwpe.tensor() : null, batch, t, c);
            ReferenceOperations.EmbeddingGrad grad =
                    ReferenceOperations.embeddingGrad(tokens, doubles(dout), vocabSize, context, batch, t, c);
            assertClose("dwte", dwte.read(), grad.dwte(), batch * t);
            if (positions) {
                assertClose("dwpe", dwpe.read(), grad.dwpe(), batch);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,0",
        "2,2,0",
        "3,31,0",
        "1,33,0",
        "31,80,0",
        "5,127,0",
        "2,384,0",
        "127,33,0",
        "3,1000,0",
        "3,80,100",
        "2,1000,-30",
        "1100,5,0",
        "9,1028,0",
        "2,3001,0",
        "300,1100,0",
        "2,2048,0",
        "130,2052,0",
        "1,8191,0"
    })
    void layerNorm(int rows, int c, float mean) {
        float[] x = gaussian(rows * c);
        for (int i = 0; i < x.length; i++) {
            x[i] += mean;
        }
        float[] weight = gaussian(c);
        float[] bias = gaussian(c);
        float[] dout = gaussian(rows * c);
        float[] before = gaussian(rows * c);
        // Subtracting the mean leaves errors relative to the mean.
        double k = c * (1 + mean * mean);
        ReferenceOperations.LayerNorm expected =
                ReferenceOperations.layerNorm(doubles(x), doubles(weight), doubles(bias), rows, c);
        ReferenceOperations.LayerNormGrad grad =
                ReferenceOperations.layerNormGrad(doubles(x), doubles(weight), doubles(dout), rows, c);

        Tensor tx = larger(x);
        GuardedTensor out = GuardedTensor.output(arena, rows * c);
        GuardedTensor stats = GuardedTensor.output(arena, rows * 2);
        backend().layerNorm(tx, of(weight), of(bias), out.tensor(), stats.tensor(), rows, c);
        assertClose("out", out.read(), expected.out(), k);
        assertClose("stats", stats.read(), expected.stats(), k);

        GuardedTensor dx = GuardedTensor.larger(arena, before);
        GuardedTensor dweight = GuardedTensor.exactOutput(arena, c);
        GuardedTensor dbias = GuardedTensor.exactOutput(arena, c);
        backend()
                .layerNormGrad(
                        tx,
                        of(weight),
                        stats.tensor(),
                        larger(dout),
                        dx.tensor(),
                        dweight.tensor(),
                        dbias.tensor(),
                        rows,
                        c);
        // The gradient is a difference of terms of this size.
        double terms = largest(doubles(dout)) * largest(doubles(weight)) * largest(expected.stats());
        assertClose("dx", dx.read(), ReferenceOperations.sum(doubles(before), grad.dx()), terms, k);
        assertClose("dweight", dweight.read(), grad.dweight(), rows + k);
        assertClose("dbias", dbias.read(), grad.dbias(), rows);
    }

    @Test
    void layerNormOfRowsOfOneValueIsTheBias() {
        int c = 33;
        float[] x = new float[3 * c];
        Arrays.fill(x, c, 2 * c, 0.5f);
        Arrays.fill(x, 2 * c, 3 * c, Float.NaN);
        float[] bias = gaussian(c);
        GuardedTensor out = GuardedTensor.output(arena, 3 * c);
        GuardedTensor stats = GuardedTensor.output(arena, 3 * 2);
        backend().layerNorm(larger(x), of(gaussian(c)), of(bias), out.tensor(), stats.tensor(), 3, c);
        float[] rows = out.read();
        assertThat(Arrays.copyOfRange(rows, 0, c)).isEqualTo(bias);
        assertThat(Arrays.copyOfRange(rows, c, 2 * c)).isEqualTo(bias);
        assertThat(IntStream.range(2 * c, 3 * c).allMatch(i -> Float.isNaN(rows[i])))
                .isTrue();
    }

    @ParameterizedTest
    @CsvSource({
        "1,1",
        "2,2",
        "3,31",
        "1,33",
        "31,80",
        "5,127",
        "2,384",
        "127,33",
        "3,1000",
        "9,1028",
        "2,3001",
        "1100,5",
        "300,1100",
        "2,2048",
        "130,2052",
        "1,8191"
    })
    void rmsNorm(int rows, int c) {
        float[] x = gaussian(rows * c);
        float[] weight = gaussian(c);
        float[] dout = gaussian(rows * c);
        float[] before = gaussian(rows * c);
        ReferenceOperations.RmsNorm expected = ReferenceOperations.rmsNorm(doubles(x), doubles(weight), rows, c);
        ReferenceOperations.RmsNormGrad grad =
                ReferenceOperations.rmsNormGrad(doubles(x), doubles(weight), doubles(dout), rows, c);
        Tensor tx = larger(x);
        GuardedTensor out = GuardedTensor.output(arena, rows * c);
        GuardedTensor stats = GuardedTensor.output(arena, rows);
        backend().rmsNorm(tx, of(weight), out.tensor(), stats.tensor(), rows, c);
        assertClose("out", out.read(), expected.out(), c);
        assertClose("stats", stats.read(), expected.stats(), c);

        GuardedTensor dx = GuardedTensor.larger(arena, before);
        GuardedTensor dweight = GuardedTensor.exactOutput(arena, c);
        backend().rmsNormGrad(tx, of(weight), stats.tensor(), larger(dout), dx.tensor(), dweight.tensor(), rows, c);
        double terms = largest(doubles(dout)) * largest(doubles(weight)) * largest(expected.stats());
        assertClose("dx", dx.read(), ReferenceOperations.sum(doubles(before), grad.dx()), terms, c);
        assertClose("dweight", dweight.read(), grad.dweight(), rows + c);
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,1",
        "3,2,0.05",
        "2,31,1e-3",
        "5,33,10",
        "1,1000,0.02",
        "12,256,0.1",
        "3,8191,1",
        "2,40000,0.1",
        "1,3,1e-7"
    })
    void quantizeWeights(int matrices, int n, float size) {
        float[] w = gaussian(matrices * n);
        for (int i = 0; i < w.length; i++) {
            w[i] = w[i] * size + size / 10;
        }
        for (Quantization quantization : new Quantization[] {Quantization.BITNET, Quantization.B158}) {
            GuardedTensor q = GuardedTensor.output(arena, matrices * n);
            backend().quantizeWeights(larger(w), quantization, null, q.tensor(), matrices, n);
            double[] expected =
                    ReferenceOperations.quantizeWeights(w, quantization == Quantization.BITNET, matrices, n);
            assertExact(quantization.label(), q.read(), expected);
        }
    }

    /** Ties go to the even number; what equals the mean counts as positive. */
    @Test
    void quantizingWeightsThatLieBetweenTwoValues() {
        float[] w = {1.5f, -1.5f, 0.5f, -0.5f, 2.5f, -0.5f, 0.5f, 1f}; // mean 0.4375, mean magnitude 1.0625
        GuardedTensor q = GuardedTensor.output(arena, 4);
        backend()
                .quantizeWeights(
                        larger(new float[] {0.5f, -0.5f, 1.5f, -1.5f}), Quantization.B158, null, q.tensor(), 1, 4);
        assertThat(q.read()).containsExactly(0, 0, 1, -1);
        q = GuardedTensor.output(arena, 4);
        backend().quantizeWeights(larger(new float[] {2, 2, 2, 2}), Quantization.BITNET, null, q.tensor(), 1, 4);
        assertThat(q.read()).containsExactly(2, 2, 2, 2);
        q = GuardedTensor.output(arena, 8);
        backend().quantizeWeights(larger(w), Quantization.BITNET, null, q.tensor(), 1, 8);
        assertThat(q.read()).containsExactly(1.0625f, -1.0625f, 1.0625f, -1.0625f, 1.0625f, -1.0625f, 1.0625f, 1.0625f);
    }

    @ParameterizedTest
    @CsvSource({"1,1,1", "2,2,1", "3,31,100", "5,33,1e-3", "31,80,1", "127,32,5", "2,1000,1", "9,1028,1", "3,5000,0.1"})
    void quantizeRows(int rows, int c, float size) {
        float[] x = gaussian(rows * c);
        for (int i = 0; i < x.length; i++) {
            x[i] = i / c == 1 ? 0 : x[i] * size; // a row of zeros stays one
        }
        GuardedTensor q = GuardedTensor.output(arena, rows * c);
        backend().quantizeRows(larger(x), null, q.tensor(), rows, c);
        assertExact("q", q.read(), ReferenceOperations.quantizeRows(x, rows, c));
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,1,false",
        "2,2,1,true",
        "31,31,1,true",
        "66,33,5,true",
        "33,80,1,false",
        "3,127,80,false",
        "2,384,1e4,false",
        "5,1000,1,false",
        "3,5000,1,false",
        "1100,1100,1,true"
    })
    void softmax(int rows, int c, float size, boolean causal) {
        float[] x = gaussian(rows * c);
        for (int i = 0; i < x.length; i++) {
            x[i] *= size;
            if (causal && i % c > i / c % c) {
                x[i] = Float.NaN; // nobody looks there
            }
        }
        double[] y = ReferenceOperations.softmax(doubles(x), causal, rows, c);
        Pass pass = Pass.evaluation(1, rows);
        Tensor out = guarded.outputRows(DType.F32, rows, c);
        guarded.run(new SoftmaxOp(guarded.rows(x, rows, c), out, causal), pass);
        assertClose("y", read(out, rows * c), y, c);
        Tensor inPlace = guarded.rows(x, rows, c);
        guarded.run(new SoftmaxOp(inPlace, inPlace, causal), pass);
        assertClose("y over x", read(inPlace, rows * c), y, c);

        float[] dy = gaussian(rows * c);
        double[] dx = ReferenceOperations.softmaxGrad(y, doubles(dy), causal, rows, c);
        Tensor grad = guarded.outputRows(DType.F32, rows, c);
        guarded.run(new SoftmaxGradOp(out, guarded.rows(dy, rows, c), grad, causal), pass);
        assertClose("dx", read(grad, rows * c), dx, 1, c);
        Tensor gradInPlace = guarded.rows(dy, rows, c);
        guarded.run(new SoftmaxGradOp(out, gradInPlace, gradInPlace, causal), pass);
        assertClose("dx over dy", read(gradInPlace, rows * c), dx, 1, c);
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,0",
        "2,2,1",
        "3,31,5",
        "31,33,3",
        "1,80,7",
        "5,127,9",
        "2,384,0",
        "3,1000,1001",
        "1,1,123456789012",
        "3,1500,2",
        "2,4096,1"
    })
    void residual(int rows, int c, long firstRow) {
        int n = rows * c;
        float[] x = gaussian(n);
        float[] branch = gaussian(n);
        float[] branchBias = gaussian(c);
        float[] weight = gaussian(c);
        float[] bias = gaussian(c);
        float[] dout = gaussian(n);
        for (float probability : new float[] {0, DROPOUT}) {
            boolean biased = probability > 0 || firstRow == 0;
            Dropout dropout = dropout(probability);
            double[] mask = mask(dropout, firstRow * c, n);
            double[] expected = ReferenceOperations.residual(
                    doubles(x), doubles(branch), biased ? doubles(branchBias) : new double[c], mask);
            Tensor added = biased ? of(branchBias) : null;
            GuardedTensor sum = GuardedTensor.output(arena, n);
            backend().residual(larger(x), larger(branch), added, dropout, firstRow, sum.tensor(), rows, c);
            assertClose("sum", sum.read(), expected, 1);

            GuardedTensor inPlace = GuardedTensor.larger(arena, x);
            backend().residual(inPlace.tensor(), larger(branch), added, dropout, firstRow, inPlace.tensor(), rows, c);
            assertClose("sum over x", inPlace.read(), expected, 1);

            GuardedTensor fusedSum = GuardedTensor.output(arena, n);
            GuardedTensor out = GuardedTensor.output(arena, n);
            GuardedTensor stats = GuardedTensor.output(arena, 2 * rows);
            backend()
                    .residualNorm(
                            larger(x),
                            larger(branch),
                            added,
                            dropout,
                            firstRow,
                            fusedSum.tensor(),
                            of(weight),
                            of(bias),
                            out.tensor(),
                            stats.tensor(),
                            rows,
                            c);
            ReferenceOperations.LayerNorm norm =
                    ReferenceOperations.layerNorm(expected, doubles(weight), doubles(bias), rows, c);
            assertClose("fused sum", fusedSum.read(), expected, 1);
            assertClose("fused norm", out.read(), norm.out(), c);
            assertClose("fused stats", stats.read(), norm.stats(), c);

            double[] dexpected = ReferenceOperations.residualGrad(doubles(x), mask);
            GuardedTensor dbranch = GuardedTensor.output(arena, n);
            GuardedTensor dbias = GuardedTensor.exactOutput(arena, c);
            backend()
                    .residualGrad(
                            larger(x), dropout, firstRow, dbranch.tensor(), biased ? dbias.tensor() : null, rows, c);
            assertClose("dbranch", dbranch.read(), dexpected, 1);
            if (biased) {
                assertClose("dbias", dbias.read(), ReferenceOperations.columnSums(dexpected, rows, c), rows);
            } else {
                dbias.assertUnchanged();
            }
            residualNormGrad(expected, weight, stats.tensor(), dout, x, dropout, firstRow, mask, rows, c);
        }
    }

    /** The gradient of a residual sum and the norm of it, once beside the norm's output gradient and once over it. */
    private void residualNormGrad(
            double[] sum,
            float[] weight,
            Tensor stats,
            float[] dout,
            float[] dsum,
            Dropout dropout,
            long firstRow,
            double[] mask,
            int rows,
            int c) {
        int n = rows * c;
        float[] rounded = new float[n];
        for (int i = 0; i < n; i++) {
            rounded[i] = (float) sum[i];
        }
        ReferenceOperations.LayerNormGrad grad =
                ReferenceOperations.layerNormGrad(sum, doubles(weight), doubles(dout), rows, c);
        double[] dx = ReferenceOperations.sum(doubles(dsum), grad.dx());
        double[] dbranch = ReferenceOperations.residualGrad(dx, mask);
        double inverse = 0; // of the smallest deviation
        float[] deviations = stats.toFloats();
        for (int r = 0; r < rows; r++) {
            inverse = Math.max(inverse, deviations[2 * r + 1]);
        }
        double terms = largest(doubles(dout)) * largest(doubles(weight)) * inverse + largest(dx);
        for (boolean over : new boolean[] {false, true}) {
            GuardedTensor tdout = GuardedTensor.larger(arena, dout);
            GuardedTensor tdsum = GuardedTensor.larger(arena, dsum);
            GuardedTensor tdbranch = over ? tdout : GuardedTensor.output(arena, n);
            GuardedTensor dweight = GuardedTensor.exactOutput(arena, c);
            GuardedTensor dbias = GuardedTensor.exactOutput(arena, c);
            GuardedTensor dbranchBias = GuardedTensor.exactOutput(arena, c);
            backend()
                    .residualNormGrad(
                            larger(rounded),
                            of(weight),
                            stats,
                            tdout.tensor(),
                            tdsum.tensor(),
                            dweight.tensor(),
                            dbias.tensor(),
                            dropout,
                            firstRow,
                            tdbranch.tensor(),
                            dbranchBias.tensor(),
                            rows,
                            c);
            double k = c * 4;
            assertClose("fused dsum", tdsum.read(), dx, terms, k);
            assertClose("fused dbranch", tdbranch.read(), dbranch, 2 * terms, k);
            assertClose("fused dweight", dweight.read(), grad.dweight(), rows + k);
            assertClose("fused dbias", dbias.read(), grad.dbias(), rows);
            double[] sums = ReferenceOperations.columnSums(dbranch, rows, c);
            assertClose("fused dbranch bias", dbranchBias.read(), sums, 2 * terms * Math.sqrt(rows), k);
        }
    }

    @ParameterizedTest
    @ValueSource(floats = {0.0001f, 0.1f, 0.5f, 0.9f})
    void dropoutKeepsItsShareAndTheMean(float probability) {
        int rows = 100;
        int c = 1000;
        int n = rows * c;
        Dropout dropout = dropout(probability);
        GuardedTensor sum = GuardedTensor.output(arena, n);
        backend().residual(larger(new float[n]), larger(filled(n, 1)), null, dropout, 3, sum.tensor(), rows, c);
        float[] factors = sum.read();
        int kept = 0;
        double total = 0;
        for (float factor : factors) {
            assertThat(factor).isIn(0f, dropout.scale());
            kept += factor == 0 ? 0 : 1;
            total += factor;
        }
        double sigma = Math.sqrt(probability * (1 - probability) / n);
        // The probability is rounded to a multiple of 1/65,536.
        assertThat((double) kept / n).isBetween(1 - probability - 5 * sigma - 1e-5, 1 - probability + 5 * sigma + 1e-5);
        assertThat(total / n).isBetween(1 - 5 * sigma * dropout.scale(), 1 + 5 * sigma * dropout.scale());
    }

    @Test
    void dropoutMasksDifferBetweenStepsPurposesAndSeeds() {
        int n = 640;
        List<float[]> masks = new ArrayList<>();
        for (RandomStream stream : List.of(
                new RandomStream(1, 20, ints(1)),
                new RandomStream(1, 20, ints(2)),
                new RandomStream(1, 21, ints(1)),
                new RandomStream(2, 20, ints(1)),
                new RandomStream(1L << 32 | 1, 20, ints(1)))) {
            GuardedTensor mask = GuardedTensor.output(arena, n);
            backend().residualGrad(larger(filled(n, 1)), new Dropout(0.5f, stream), 0, mask.tensor(), null, 1, n);
            masks.add(mask.read());
        }
        for (int i = 0; i < masks.size(); i++) {
            for (int j = 0; j < i; j++) {
                float[] a = masks.get(i);
                float[] b = masks.get(j);
                long equal = IntStream.range(0, n).filter(e -> a[e] == b[e]).count();
                assertThat(equal)
                        .as("of %d in masks %d and %d", n, i, j)
                        .isBetween(n / 2L - 64, n / 2L + 64); // 5 sigma
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- attention

    static Stream<int[]> attentionSizes() {
        List<int[]> sizes = new ArrayList<>(); // batch, t, heads, head size
        for (int t : new int[] {1, 2, 7, 8, 23, 24, 25, 63, 64, 65, 130}) {
            sizes.add(new int[] {2, t, 2, 8});
            sizes.add(new int[] {3, t, 1, 3});
            sizes.add(new int[] {1, t, 6, 1});
        }
        for (int t : new int[] {2, 8, 23, 24, 65}) {
            sizes.add(new int[] {2, t, 6, 16});
            sizes.add(new int[] {1, t, 1, 33});
            sizes.add(new int[] {2, t, 2, 33});
            sizes.add(new int[] {2, t, 1, 1});
        }
        sizes.add(new int[] {1, 130, 6, 16});
        for (int t : new int[] {7, 40}) { // a GPU has kernels for heads of up to 8, 16, 32, 64 and 128
            sizes.add(new int[] {2, t, 2, 20});
            sizes.add(new int[] {2, t, 2, 64});
            sizes.add(new int[] {1, t, 2, 100});
            sizes.add(new int[] {1, t, 1, 128});
        }
        return sizes.stream();
    }

    @ParameterizedTest
    @MethodSource("attentionSizes")
    void attention(int[] sizes) {
        int batch = sizes[0];
        int t = sizes[1];
        int heads = sizes[2];
        int headSize = sizes[3];
        int rows = batch * t;
        int width = heads * headSize;
        poisonScratch(t, heads, headSize);
        float[] qkv = gaussian(rows * 3 * width);
        float[] dout = gaussian(rows * width);
        for (float probability : new float[] {0, DROPOUT}) {
            for (long firstSequence : new long[] {0, 3, 1_000_000_007L}) {
                if (probability == 0 && firstSequence > 0) {
                    continue;
                }
                Dropout dropout = dropout(probability);
                double[] mask = mask(dropout, firstSequence * heads * t * t, batch * heads * t * t);
                ReferenceOperations.Attention expected =
                        ReferenceOperations.attention(doubles(qkv), mask, batch, t, heads, headSize);
                double[] dexpected =
                        ReferenceOperations.attentionGrad(doubles(qkv), doubles(dout), mask, batch, t, heads, headSize);

                Tensor tqkv = larger(qkv);
                GuardedTensor out = GuardedTensor.output(arena, rows * width);
                GuardedTensor stats = GuardedTensor.output(arena, 2 * rows * heads);
                backend()
                        .attention(
                                tqkv, out.tensor(), stats.tensor(), dropout, firstSequence, batch, t, heads, headSize);
                assertClose("out", out.read(), expected.out(), t + headSize);
                assertClose("lse", logDenominators(stats.read()), expected.lse(), t + headSize);

                GuardedTensor dqkv = GuardedTensor.output(arena, rows * 3 * width);
                backend()
                        .attentionGrad(
                                tqkv,
                                out.tensor(),
                                stats.tensor(),
                                larger(dout),
                                dqkv.tensor(),
                                dropout,
                                firstSequence,
                                batch,
                                t,
                                heads,
                                headSize);
                assertThirdsClose(dqkv.read(), dexpected, rows, width, t + headSize);
            }
        }
    }

    /** Queries, keys and values apart, so that one cannot hide behind the other's larger values. */
    private static void assertThirdsClose(float[] actual, double[] expected, int rows, int width, double k) {
        double largest = largest(expected);
        for (int part = 0; part < 3; part++) {
            double[] wanted = new double[rows * width];
            float[] got = new float[rows * width];
            for (int r = 0; r < rows; r++) {
                for (int j = 0; j < width; j++) {
                    wanted[r * width + j] = expected[(3 * r + part) * width + j];
                    got[r * width + j] = actual[(3 * r + part) * width + j];
                }
            }
            // Those of queries and keys are differences of terms as large as those of values.
            double scale = Math.max(largest(wanted), 0.2 * largest);
            assertClose(List.of("dq", "dk", "dv").get(part), got, wanted, scale, k);
        }
    }

    /** Leaves NaN in the memory that a backend may keep between operations: it must not show in what comes next. */
    private void poisonScratch(int t, int heads, int headSize) {
        int n = t * heads * headSize;
        Tensor qkv = larger(filled(3 * n, Float.NaN));
        Tensor out = larger(filled(n, Float.NaN));
        Tensor stats = larger(filled(2 * t * heads, Float.NaN));
        Tensor dout = larger(filled(n, Float.NaN));
        GuardedTensor result = GuardedTensor.output(arena, 3 * n);
        backend().attentionGrad(qkv, out, stats, dout, result.tensor(), null, 0, 1, t, heads, headSize);
        assertThat(result.read()).containsOnly(Float.NaN);
    }

    @ParameterizedTest
    @ValueSource(ints = {7, 65})
    void attentionToSpecialScores(int t) {
        int headSize = 8;
        for (float size : new float[] {0, 1, 80, 1e4f}) {
            float[] qkv = gaussian(t * 3 * headSize);
            for (int i = 0; i < t; i++) {
                for (int d = 0; d < headSize; d++) {
                    qkv[i * 3 * headSize + d] = size / 8; // exact, so that only the softmax can lose anything
                    qkv[i * 3 * headSize + headSize + d] = i % 3 - 1;
                }
            }
            float[] dout = gaussian(t * headSize);
            ReferenceOperations.Attention expected =
                    ReferenceOperations.attention(doubles(qkv), null, 1, t, 1, headSize);
            double[] dexpected =
                    ReferenceOperations.attentionGrad(doubles(qkv), doubles(dout), null, 1, t, 1, headSize);
            Tensor tqkv = larger(qkv);
            GuardedTensor out = GuardedTensor.output(arena, t * headSize);
            GuardedTensor stats = GuardedTensor.output(arena, 2 * t);
            GuardedTensor dqkv = GuardedTensor.output(arena, t * 3 * headSize);
            backend().attention(tqkv, out.tensor(), stats.tensor(), null, 0, 1, t, 1, headSize);
            backend()
                    .attentionGrad(
                            tqkv,
                            out.tensor(),
                            stats.tensor(),
                            larger(dout),
                            dqkv.tensor(),
                            null,
                            0,
                            1,
                            t,
                            1,
                            headSize);
            // A weight is as uncertain as its score, of which float32 knows 7 digits.
            double k = (t + headSize) * (1 + size * size / 100);
            assertClose("out", out.read(), expected.out(), k);
            assertClose("lse", logDenominators(stats.read()), expected.lse(), k);
            assertClose("dqkv", dqkv.read(), dexpected, k);
        }
    }

    @ParameterizedTest
    @CsvSource({"7,2,3", "23,1,8", "24,2,8", "65,1,16", "130,2,3"})
    void attentionSeesNothingThatComesLater(int t, int heads, int headSize) {
        int width = heads * headSize;
        float[] qkv = gaussian(t * 3 * width);
        float[] dout = gaussian(t * width);
        for (int changed : new int[] {1, t / 2, t - 1}) {
            float[] other = qkv.clone();
            for (int i = changed * 3 * width; i < other.length; i++) {
                other[i] += 10;
            }
            Tensor tqkv = larger(qkv);
            GuardedTensor out = GuardedTensor.output(arena, t * width);
            GuardedTensor stats = GuardedTensor.output(arena, 2 * t * heads);
            GuardedTensor otherOut = GuardedTensor.output(arena, t * width);
            GuardedTensor otherStats = GuardedTensor.output(arena, 2 * t * heads);
            backend().attention(tqkv, out.tensor(), stats.tensor(), null, 0, 1, t, heads, headSize);
            backend().attention(larger(other), otherOut.tensor(), otherStats.tensor(), null, 0, 1, t, heads, headSize);
            int before = changed * width;
            assertThat(Arrays.copyOf(otherOut.read(), before)).isEqualTo(Arrays.copyOf(out.read(), before));
            assertThat(otherOut.read()[before]).isNotEqualTo(out.read()[before]);

            // And nobody before the first gradient gets one from it, but as key or value.
            float[] late = dout.clone();
            Arrays.fill(late, 0, before, 0f);
            GuardedTensor dqkv = GuardedTensor.output(arena, t * 3 * width);
            backend()
                    .attentionGrad(
                            tqkv,
                            out.tensor(),
                            stats.tensor(),
                            larger(late),
                            dqkv.tensor(),
                            null,
                            0,
                            1,
                            t,
                            heads,
                            headSize);
            float[] grad = dqkv.read();
            for (int i = 0; i < changed; i++) {
                assertThat(Arrays.copyOfRange(grad, i * 3 * width, i * 3 * width + width))
                        .containsOnly(0f);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {7, 65})
    void nanAndInfinityReachTheirOwnRowOfAttention(int t) {
        int headSize = 3;
        for (float special : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
            for (int part = 0; part < 3; part++) {
                float[] qkv = gaussian(t * 3 * headSize);
                int row = t / 2;
                qkv[(3 * row + part) * headSize] = special;
                GuardedTensor out = GuardedTensor.output(arena, t * headSize);
                GuardedTensor stats = GuardedTensor.output(arena, 2 * t);
                // A key of infinity makes a score of minus infinity, and so a weight of 0, where the query is negative.
                qkv[3 * row * headSize] = part == 1 ? 1 : qkv[3 * row * headSize];
                backend().attention(larger(qkv), out.tensor(), stats.tensor(), null, 0, 1, t, 1, headSize);
                float value = out.read()[row * headSize];
                assertThat(Float.isNaN(value) || Float.isInfinite(value) || part == 0 && Float.isInfinite(special))
                        .as("%s in part %d gave %s", special, part, value)
                        .isTrue();
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,0,1,1,1",
        "2,1,7,8,2,3",
        "3,5,0,5,6,1",
        "2,5,3,9,1,33",
        "1,8,57,65,2,16",
        "2,1,129,130,6,8",
        "1,65,0,65,1,3"
    })
    void attentionCached(int batch, int t, int position, int context, int heads, int headSize) {
        int width = heads * headSize;
        float[] qkv = gaussian(batch * t * 3 * width);
        float[] cache = gaussian(batch * context * 2 * width);
        for (int b = 0; b < batch; b++) { // what comes later has never been written
            Arrays.fill(cache, (b * context + position) * 2 * width, (b + 1) * context * 2 * width, Float.NaN);
        }
        GuardedTensor keysAndValues = GuardedTensor.larger(arena, cache);
        GuardedTensor out = GuardedTensor.output(arena, batch * t * width);
        backend()
                .attentionCached(
                        larger(qkv),
                        keysAndValues.tensor(),
                        ints(position),
                        out.tensor(),
                        batch,
                        t,
                        context,
                        heads,
                        headSize);
        double[] expectedCache = doubles(cache);
        double[] expected = ReferenceOperations.attentionCached(
                doubles(qkv), expectedCache, batch, t, position, context, heads, headSize);
        assertClose("out", out.read(), expected, position + t + headSize);
        assertExact("cache", keysAndValues.read(), expectedCache);
    }

    // ---------------------------------------------------------------------------------------------- loss

    @ParameterizedTest
    @CsvSource({
        "1,1,1",
        "2,2,1",
        "31,80,1",
        "33,31,1",
        "1,1000,5",
        "127,33,0.1",
        "80,80,80",
        "2,384,1e4",
        "5,80,1e4",
        "1000,80,0",
        "3,5000,1"
    })
    void crossEntropy(int rows, int v, float size) {
        float[] logits = gaussian(rows * v);
        for (int i = 0; i < logits.length; i++) {
            logits[i] *= size;
        }
        assertCrossEntropy(logits, tokens(rows, v), rows, v);
    }

    @Test
    void crossEntropyOfSpecialRows() {
        int v = 33;
        float[] logits = new float[6 * v]; // row 0: zeros
        Arrays.fill(logits, v, 2 * v, -1e4f); // all the same
        logits[2 * v + 5] = 1e4f; // certain and right
        logits[3 * v + 5] = 1e4f; // certain and wrong
        Arrays.fill(logits, 4 * v, 5 * v, -80f);
        logits[4 * v + 32] = 80f;
        Arrays.fill(logits, 5 * v, 6 * v, Float.NEGATIVE_INFINITY); // only two tokens are possible
        logits[5 * v + 7] = 1;
        logits[5 * v + 32] = 2;
        int[] targets = {0, 32, 5, 6, 0, 7};
        assertCrossEntropy(logits, targets, 6, v);
        for (int r = 0; r < 6; r++) { // each alone: a small loss must not hide behind the large ones
            assertCrossEntropy(Arrays.copyOfRange(logits, r * v, (r + 1) * v), new int[] {targets[r]}, 1, v);
        }
    }

    private void assertCrossEntropy(float[] logits, int[] targets, int rows, int v) {
        float gradScale = 0.37f;
        ReferenceOperations.CrossEntropy expected =
                ReferenceOperations.crossEntropy(doubles(logits), targets, gradScale, rows, v);
        Tensor ids = ints(targets);
        GuardedTensor loss = GuardedTensor.output(arena, 1);
        backend().crossEntropy(larger(logits), ids, loss.tensor(), null, gradScale, rows, v);
        assertLoss(loss.read()[0], expected.loss(), rows * v);

        GuardedTensor dlogits = GuardedTensor.output(arena, rows * v);
        loss = GuardedTensor.output(arena, 1);
        backend().crossEntropy(larger(logits), ids, loss.tensor(), dlogits.tensor(), gradScale, rows, v);
        assertLoss(loss.read()[0], expected.loss(), rows * v);
        assertClose("dlogits", dlogits.read(), expected.dlogits(), gradScale, v);

        GuardedTensor inPlace = GuardedTensor.larger(arena, logits);
        loss = GuardedTensor.output(arena, 1);
        backend().crossEntropy(inPlace.tensor(), ids, loss.tensor(), inPlace.tensor(), gradScale, rows, v);
        assertLoss(loss.read()[0], expected.loss(), rows * v);
        assertClose("dlogits over logits", inPlace.read(), expected.dlogits(), gradScale, v);
    }

    /** A loss near 0 is the logarithm of a number near 1, which float32 knows to 6e-8. */
    private static void assertLoss(float actual, double expected, int k) {
        assertClose("loss", new float[] {actual}, new double[] {expected}, Math.max(expected, 1), k);
    }

    @ParameterizedTest
    @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
    void nanAndInfinityReachTheLoss(float special) {
        int rows = 127;
        int v = 80;
        for (int at : new int[] {0, 1, 78, 79}) {
            float[] logits = gaussian(rows * v);
            logits[100 * v + at] = special;
            int[] targets = tokens(rows, v);
            targets[100] = at;
            GuardedTensor loss = GuardedTensor.output(arena, 1);
            GuardedTensor dlogits = GuardedTensor.output(arena, rows * v);
            backend().crossEntropy(larger(logits), ints(targets), loss.tensor(), dlogits.tensor(), 1, rows, v);
            float value = loss.read()[0];
            assertThat(Float.isNaN(value) || value == Float.POSITIVE_INFINITY)
                    .as("loss of %s", special)
                    .isTrue();
            float[] grad = dlogits.read();
            for (int r = 0; r < rows; r++) {
                assertThat(Float.isNaN(grad[r * v + at]))
                        .as("row %d", r)
                        .isEqualTo(r == 100 && special != Float.NEGATIVE_INFINITY);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 31, 1000})
    void zero(int n) {
        GuardedTensor x = GuardedTensor.output(arena, n);
        backend().zero(x.tensor(), n);
        assertThat(x.read()).containsOnly(0f);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 31, 1000})
    void copy(int n) {
        float[] source = gaussian(n);
        GuardedTensor target = GuardedTensor.output(arena, n);
        backend().copy(larger(source), target.tensor(), n);
        assertThat(target.read()).containsExactly(source);
    }

    @ParameterizedTest
    @ValueSource(ints = {0, -1, 41, Integer.MAX_VALUE - 1})
    void increment(int from) {
        Tensor numbers = ints(7, from, 7);
        backend().increment(numbers.slice(1, Shape.of(1)));
        backend().increment(numbers.slice(0, Shape.of(1)));
        assertThat(numbers.toInts()).containsExactly(8, from + 1, 7);
    }

    // ---------------------------------------------------------------------------------------------- training

    @ParameterizedTest
    @CsvSource({"20,4,8,0", "5,4,3,6", "65000,33,7,1234567890123", "3,1,31,2"})
    void gatherBatch(int length, int t, int batch, long firstSequence) {
        int[] corpus = IntStream.range(0, length).map(i -> (i * 7 + 3) % 65536).toArray();
        Tensor tokens = corpus(corpus);
        for (int step : new int[] {0, 1, Integer.MAX_VALUE}) {
            RandomStream stream = new RandomStream(SEED, RandomStream.TRAIN_BATCH, ints(step));
            Tensor x = ints(filledInts(batch * t + 2));
            Tensor y = ints(filledInts(batch * t + 2));
            backend().gatherBatch(tokens, stream, firstSequence, x, y, batch, t);
            ReferenceOperations.Batch expected = ReferenceOperations.gatherBatch(
                    corpus, SEED, RandomStream.TRAIN_BATCH, step, firstSequence, batch, t);
            assertThat(Arrays.copyOf(x.toInts(), batch * t)).isEqualTo(expected.x());
            assertThat(Arrays.copyOf(y.toInts(), batch * t)).isEqualTo(expected.y());
            for (Tensor tensor : List.of(x, y)) {
                int[] values = tensor.toInts();
                assertThat(Arrays.copyOfRange(values, batch * t, batch * t + 2)).containsOnly(-1);
            }
        }
    }

    @Test
    void batchesStartAtEveryPlaceOfTheCorpusEquallyOften() {
        int length = 23;
        int t = 4;
        int places = length - t;
        int draws = 19_000;
        int[] corpus = IntStream.range(0, length).toArray();
        Tensor x = ints(new int[draws * t]);
        Tensor y = ints(new int[draws * t]);
        backend().gatherBatch(corpus(corpus), new RandomStream(3, 1, ints(9)), 0, x, y, draws, t);
        int[] xs = x.toInts();
        int[] ys = y.toInts();
        int[] counts = new int[places];
        for (int b = 0; b < draws; b++) {
            counts[xs[b * t]]++;
            assertThat(ys[b * t + t - 1]).isEqualTo(xs[b * t] + t);
        }
        double expected = (double) draws / places;
        double sigma = Math.sqrt(expected * (1 - 1.0 / places));
        for (int place = 0; place < places; place++) {
            assertThat((double) counts[place])
                    .as("place %d", place)
                    .isBetween(expected - 5 * sigma, expected + 5 * sigma);
        }
    }

    // 32,768 and 65,536: where a backend may divide a buffer among threads
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 31, 33, 1000, 32767, 32768, 32769, 100_003})
    void sum(int n) {
        float[][] values = {gaussian(n), gaussian(n), gaussian(n)};
        Tensor[] parts = {of(values[0]), of(values[1]), of(values[2])};
        for (int count = 1; count <= 3; count++) {
            double[][] some = Arrays.stream(values, 0, count)
                    .map(ReferenceOperations::doubles)
                    .toArray(double[][]::new);
            double[] expected = ReferenceOperations.sum(some);
            GuardedTensor sum = GuardedTensor.exactOutput(arena, n);
            backend().sum(parts, count, false, sum.tensor());
            assertClose("sum", sum.read(), expected, count);

            float[] before = gaussian(n);
            GuardedTensor more = GuardedTensor.of(arena, before);
            backend().sum(parts, count, true, more.tensor());
            assertClose("sum added", more.read(), ReferenceOperations.sum(doubles(before), expected), count);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 31, 33, 1000, 32767, 32768, 32769, 100_003, 300_007})
    void norm(int n) {
        float[] x = gaussian(n);
        assertNorm(x);
        assertNorm(new float[n]);
        assertNorm(filled(n, 0.1f));
        for (float special : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
            x[n - 1] = special;
            GuardedTensor norm = GuardedTensor.output(arena, 1);
            backend().norm(of(x), norm.tensor());
            assertThat(norm.read()).containsExactly(special); // any NaN is as good as another: a GPU has its own
        }
    }

    private void assertNorm(float[] x) {
        GuardedTensor norm = GuardedTensor.output(arena, 1);
        backend().norm(of(x), norm.tensor());
        assertClose("norm", norm.read(), new double[] {ReferenceOperations.norm(doubles(x))}, x.length);
    }

    @ParameterizedTest
    @CsvSource({"1,0,1", "31,0.5,1", "1000,0,7", "32769,0.5,10000", "100003,1000,3"})
    void adamW(int n, float clip, int step) {
        AdamWSettings settings = new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.1f, clip);
        float[] params = gaussian(n);
        for (int i = 0; i < n; i++) {
            params[i] *= 0.05f; // as small as a step, so that a wrong step cannot hide behind them
        }
        float[] grads = gaussian(n);
        float[] first = gaussian(n);
        float[] second = gaussian(n);
        for (int i = 0; i < n; i++) {
            second[i] = second[i] * second[i] + 0.01f;
        }
        if (n > 30) { // a parameter that nothing has moved yet
            grads[30] = 0;
            first[30] = 0;
            second[30] = 0;
        }
        float learningRate = 0.01f;
        float gradNorm = (float) ReferenceOperations.norm(doubles(grads));
        double[] p = doubles(params);
        double[] m = doubles(first);
        double[] v = doubles(second);
        ReferenceOperations.adamW(p, doubles(grads), m, v, learningRate, step, gradNorm, settings);
        GuardedTensor tp = GuardedTensor.of(arena, params);
        GuardedTensor tm = GuardedTensor.of(arena, first);
        GuardedTensor tv = GuardedTensor.of(arena, second);
        backend()
                .adamW(
                        tp.tensor(),
                        of(grads),
                        tm.tensor(),
                        tv.tensor(),
                        of(new float[] {learningRate}),
                        ints(step),
                        of(new float[] {gradNorm}),
                        settings);
        assertClose("params", tp.read(), p, 4);
        assertClose("first moments", tm.read(), m, 1);
        assertClose("second moments", tv.read(), v, 1);
    }

    @Test
    void adamWLeavesOthersAloneWhereOneGradientIsNan() {
        float[] grads = gaussian(100);
        grads[40] = Float.NaN;
        GuardedTensor params = GuardedTensor.of(arena, gaussian(100));
        GuardedTensor first = GuardedTensor.of(arena, new float[100]);
        GuardedTensor second = GuardedTensor.of(arena, new float[100]);
        backend()
                .adamW(
                        params.tensor(),
                        of(grads),
                        first.tensor(),
                        second.tensor(),
                        of(new float[] {1e-3f}),
                        ints(1),
                        of(new float[] {1}),
                        new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.01f, 0));
        float[] after = params.read();
        for (int i = 0; i < 100; i++) {
            assertThat(Float.isNaN(after[i])).as("parameter %d", i).isEqualTo(i == 40);
        }
    }

    @Test
    void adamWPassesTheNanOfAGradientThatIsClippedOn() {
        GuardedTensor params = GuardedTensor.of(arena, gaussian(33));
        backend()
                .adamW(
                        params.tensor(),
                        of(gaussian(33)),
                        GuardedTensor.of(arena, new float[33]).tensor(),
                        GuardedTensor.of(arena, new float[33]).tensor(),
                        of(new float[] {1e-3f}),
                        ints(1),
                        of(new float[] {Float.NaN}),
                        new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.01f, 1));
        assertThat(params.read()).containsOnly(Float.NaN);
    }

    // ---------------------------------------------------------------------------------------------- generation

    @ParameterizedTest
    @CsvSource({
        // V, temperature, top-k, top-p
        "80,1,0,1",
        "80,0.7,0,1",
        "80,1,3,1",
        "80,1.3,0,0.6",
        "80,0.9,5,0.8",
        "80,0,0,1",
        "700,0,0,1",
        "80,1,1,1",
        "80,5,79,0.99"
    })
    void sampleDrawsWhatTheStreamSays(int v, float temperature, int topK, float topP) {
        int batch = 127;
        int t = 2;
        int firstSequence = 5;
        Sampling sampling = new Sampling(temperature, topK, topP);
        float[] logits = gaussian(batch * t * v);
        Tensor tokens = ints(filledInts(batch + 1));
        RandomStream stream = new RandomStream(SEED, RandomStream.SAMPLE, ints(STEP));
        backend().sample(larger(logits), sampling, stream, ints(firstSequence), tokens, batch, t, v);
        int[] drawn = tokens.toInts();
        assertThat(drawn[batch]).isEqualTo(-1);
        int compared = 0;
        for (int b = 0; b < batch; b++) {
            int row = (b * t + t - 1) * v;
            double[] p = ReferenceOperations.probabilities(Arrays.copyOfRange(doubles(logits), row, row + v), sampling);
            double u = ReferenceOperations.uniform(
                    ReferenceOperations.philoxWord(SEED, RandomStream.SAMPLE, STEP, firstSequence + b));
            int expected = ReferenceOperations.draw(p, u);
            // A number next to the border of two tokens may fall on either side.
            if (expected == ReferenceOperations.draw(p, u - 1e-5)
                    && expected == ReferenceOperations.draw(p, u + 1e-5)) {
                assertThat(drawn[b]).as("sequence %d", b).isEqualTo(expected);
                compared++;
            }
        }
        assertThat(compared).isGreaterThan(batch * 9 / 10);
    }

    @Test
    void sampleFollowsTheDistribution() {
        int draws = 20_000;
        int v = 12;
        double[] row = doubles(gaussian(v));
        float[] logits = new float[draws * v];
        for (int i = 0; i < logits.length; i++) {
            logits[i] = (float) row[i % v];
        }
        Tensor tokens = ints(new int[draws]);
        backend().sample(larger(logits), Sampling.PLAIN, new RandomStream(1, 4, ints(1)), null, tokens, draws, 1, v);
        double[] p = ReferenceOperations.probabilities(row, Sampling.PLAIN);
        int[] counts = new int[v];
        Arrays.stream(tokens.toInts()).forEach(token -> counts[token]++);
        for (int i = 0; i < v; i++) {
            double sigma = Math.sqrt(draws * p[i] * (1 - p[i]));
            assertThat((double) counts[i])
                    .as("token %d", i)
                    .isBetween(draws * p[i] - 5 * sigma, draws * p[i] + 5 * sigma);
        }
    }

    @Test
    void withoutAFirstSequenceItIsTheFirst() {
        int batch = 31;
        int v = 12;
        float[] logits = gaussian(batch * v);
        RandomStream stream = new RandomStream(SEED, RandomStream.SAMPLE, ints(STEP));
        Tensor first = ints(new int[batch]);
        Tensor left = ints(new int[batch]);
        backend().sample(larger(logits), Sampling.PLAIN, stream, ints(0), first, batch, 1, v);
        backend().sample(larger(logits), Sampling.PLAIN, stream, null, left, batch, 1, v);
        assertThat(left.toInts()).isEqualTo(first.toInts());
    }

    // 256 and 512: where a block begins to take several rounds
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 31, 33, 80, 255, 256, 257, 512, 513, 1000})
    void append(int t) {
        for (int batch : new int[] {1, 2, 7}) {
            int[] before = tokens(batch * t, 65);
            int[] next = tokens(batch, 65);
            Tensor windows = ints(Arrays.copyOf(before, batch * t + 2));
            backend().append(windows, ints(next), batch, t);
            assertThat(windows.toInts())
                    .isEqualTo(Arrays.copyOf(ReferenceOperations.append(before, next, batch, t), batch * t + 2));
        }
    }

    // ---------------------------------------------------------------------------------------------- running

    /** As many as asked for or fewer, in parts that leave few over, and the fewer the more there is to do. */
    @Test
    void togetherIsNeverMoreThanThereIsToRepeat() {
        for (int times : new int[] {1, 2, 7, 50, 51, 255, 500, Integer.MAX_VALUE}) {
            int most = backend().together(times, 1);
            assertThat(most).isBetween(1, times);
            assertThat(times % most).isLessThanOrEqualTo(times / most);
            assertThat(backend().together(times, 1e10)).isBetween(1, most);
            assertThat(backend().together(times, 1e15)).isOne();
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2, 3, 31})
    void parallelRunsEachTaskOnce(int tasks) {
        AtomicIntegerArray runs = new AtomicIntegerArray(tasks + 1);
        backend().parallel(tasks, runs::incrementAndGet);
        for (int i = 0; i <= tasks; i++) {
            assertThat(runs.get(i)).as("task %d", i).isEqualTo(i < tasks ? 1 : 0);
        }
    }

    @Test
    void recordedWorkReadsItsTensorsEachTimeItRuns() {
        Tensor x = of(new float[] {1, 2, 3});
        GuardedTensor sum = GuardedTensor.of(arena, new float[3]);
        inputs.clear(); // x is overwritten below
        Runnable work = backend().record(arena, () -> backend().sum(new Tensor[] {x}, 1, true, sum.tensor()));
        work.run();
        x.write(10f, 20f, 30f);
        work.run();
        work.run();
        assertThat(sum.read()).isEqualTo(new float[] {21, 42, 63});
    }

    // ---------------------------------------------------------------------------------------------- helpers

    private float[] gaussian(int n) {
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    private static float[] filled(int n, float value) {
        float[] values = new float[n];
        Arrays.fill(values, value);
        return values;
    }

    private static int[] filledInts(int n) {
        int[] values = new int[n];
        Arrays.fill(values, -1);
        return values;
    }

    private int[] tokens(int n, int vocabSize) {
        return random.ints(n, 0, vocabSize).toArray();
    }

    /** An input of exactly these values. */
    private Tensor of(float[] values) {
        return input(GuardedTensor.of(arena, values));
    }

    /** An input that is larger than what the operation should read of it. */
    private Tensor larger(float[] values) {
        return input(GuardedTensor.larger(arena, values));
    }

    private Tensor input(GuardedTensor input) {
        inputs.add(input);
        return input.tensor();
    }

    /** No operation writes to its inputs. */
    @AfterEach
    void inputsAreUnchanged() {
        inputs.forEach(GuardedTensor::assertUnchanged);
    }

    private Tensor ints(int... values) {
        Tensor whole = arena.allocate(DType.I32, Shape.of(values.length + 3));
        Tensor tensor = whole.slice(3, Shape.of(values.length));
        tensor.write(values);
        return tensor;
    }

    private Tensor corpus(int[] tokens) {
        char[] chars = new char[tokens.length];
        for (int i = 0; i < chars.length; i++) {
            chars[i] = (char) tokens[i];
        }
        Tensor whole = arena.allocate(DType.U16, Shape.of(chars.length + 5));
        Tensor tensor = whole.slice(5, Shape.of(chars.length));
        tensor.write(chars);
        return tensor;
    }

    private Dropout dropout(float probability) {
        return probability == 0 ? null : new Dropout(probability, new RandomStream(SEED, PURPOSE, ints(STEP)));
    }

    private static double[] mask(Dropout dropout, long first, int n) {
        return dropout == null
                ? null
                : ReferenceOperations.dropoutMask(dropout.probability(), SEED, PURPOSE, STEP, first, n);
    }

    private static void assertExact(String name, float[] actual, double[] expected) {
        assertThat(doubles(actual)).as(name).isEqualTo(expected);
    }

    private static void assertClose(String name, float[] actual, double[] expected, double k) {
        assertClose(name, actual, expected, largest(expected), k);
    }

    private static double largest(double[] values) {
        return Arrays.stream(values).map(Math::abs).max().orElseThrow();
    }

    private static void assertClose(String name, float[] actual, double[] expected, double largest, double k) {
        assertThat(actual).hasSameSizeAs(expected);
        double tolerance = UNIT * Math.sqrt(k) * largest;
        for (int i = 0; i < expected.length; i++) {
            if (!(Math.abs(actual[i] - expected[i]) <= tolerance)) { // NaN is not close to anything
                assertThat((double) actual[i])
                        .as("%s[%d] of %d, tolerance %s", name, i, expected.length, tolerance)
                        .isEqualTo(expected[i]);
            }
        }
    }

    /** The logarithm of each softmax's denominator, from its maximum and the inverse of the denominator after that. */
    private static float[] logDenominators(float[] stats) {
        float[] logs = new float[stats.length / 2];
        for (int i = 0; i < logs.length; i++) {
            logs[i] = (float) (stats[2 * i] - Math.log(stats[2 * i + 1]));
        }
        return logs;
    }
}
