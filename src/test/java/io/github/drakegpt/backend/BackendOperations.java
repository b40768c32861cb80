package io.github.drakegpt.backend;

import static io.github.drakegpt.backend.GuardedTensors.read;
import static io.github.drakegpt.backend.ReferenceOperations.doubles;
import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.AppendOp;
import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.CopyOp;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.EmbeddingGradOp;
import io.github.drakegpt.ops.EmbeddingOp;
import io.github.drakegpt.ops.GatherBatchOp;
import io.github.drakegpt.ops.GradNormOp;
import io.github.drakegpt.ops.IncrementOp;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.QuantizeRowsOp;
import io.github.drakegpt.ops.QuantizeWeightsOp;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.ops.ReluGradOp;
import io.github.drakegpt.ops.ResidualGradOp;
import io.github.drakegpt.ops.ResidualOp;
import io.github.drakegpt.ops.RmsNormGradOp;
import io.github.drakegpt.ops.RmsNormOp;
import io.github.drakegpt.ops.SampleOp;
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.ops.SoftmaxGradOp;
import io.github.drakegpt.ops.SoftmaxOp;
import io.github.drakegpt.ops.SumOp;
import io.github.drakegpt.ops.ZeroOp;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
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
        Tensor tx = guarded.rows(x, rows, in);
        Tensor tw = guarded.of(w, out, in);
        Tensor tbias = guarded.of(bias, out);
        for (boolean relu : new boolean[] {false, true}) {
            for (boolean withBias : new boolean[] {false, true}) {
                Tensor y = guarded.outputRows(rows, out);
                guarded.run(new LinearOp(tx, tw, withBias ? tbias : null, relu, y), Pass.evaluation(1, rows));
                double[] expected =
                        ReferenceOperations.linear(doubles(x), doubles(w), withBias ? doubles(bias) : null, relu, in);
                assertClose("y", read(y, rows * out), expected, in);
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
        Tensor tx = guarded.rows(x, rows, in);
        Tensor tw = guarded.of(w, out, in);
        Tensor tdy = guarded.rows(dy, rows, out);
        ReferenceOperations.LinearGrad expected =
                ReferenceOperations.linearGrad(doubles(x), doubles(w), doubles(dy), rows, in, out);
        for (boolean all : new boolean[] {true, false}) {
            Tensor dx = all ? guarded.outputRows(rows, in) : null;
            Tensor dw = guarded.output(out, in);
            Tensor dbias = all ? guarded.output(out) : null;
            guarded.run(new LinearGradOp(tx, tw, tdy, dx, dw, dbias), Pass.training(1, rows, 0));
            assertClose("dw", dw.toFloats(), expected.dw(), rows);
            if (all) {
                assertClose("dx", read(dx, rows * in), expected.dx(), out);
                assertClose("dbias", dbias.toFloats(), expected.dbias(), rows);
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
                Pass pass = Pass.training(1, rows, 0);
                Tensor x = guarded.rows(filled(rows, 1), rows, 1);
                Tensor w = guarded.of(asBias ? new float[n] : before, n, 1);
                Tensor bias = asBias ? guarded.of(before, n) : null;
                Tensor y = guarded.outputRows(rows, n);
                guarded.run(new LinearOp(x, w, bias, true, y), pass);
                float[] relu = read(y, rows * n);
                Tensor dy = guarded.rows(filled(rows * n, 3), rows, n);
                guarded.run(new ReluGradOp(y, dy, null), pass);
                float[] grad = read(dy, rows * n);
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
            Tensor grad = guarded.rows(dy, rows, c);
            Tensor dbias = biased ? guarded.output(c) : null;
            guarded.run(new ReluGradOp(guarded.rows(y, rows, c), grad, dbias), Pass.training(1, rows, 0));
            assertExact("dy", read(grad, n), expected);
            if (biased) {
                assertClose("dbias", dbias.toFloats(), ReferenceOperations.columnSums(expected, rows, c), rows);
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
            Tensor y = guarded.outputRows(rows, out);
            Tensor bias = guarded.of(gaussian(out), out);
            guarded.run(
                    new LinearOp(guarded.rows(x, rows, in), guarded.of(w, out, in), bias, true, y),
                    Pass.evaluation(1, rows));
            float[] values = read(y, rows * out);
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
        Tensor ids = guarded.intRows(tokens);
        for (boolean positions : new boolean[] {true, false}) {
            Tensor out = guarded.outputRows(batch * t, c);
            Tensor twpe = positions ? guarded.of(wpe, context, c) : null;
            EmbeddingOp embedding =
                    new EmbeddingOp(ids, guarded.of(wte, vocabSize, c), twpe, guarded.ints(position), out);
            guarded.run(embedding, Pass.generation(batch, t));
            double[] expected = ReferenceOperations.embedding(
                    tokens, doubles(wte), positions ? doubles(wpe) : null, t, c, position);
            assertClose("out", read(out, batch * t * c), expected, 1);
            Pass pass = Pass.training(batch, t, 0); // where the position does not count
            guarded.run(embedding, pass);
            double[] atStart =
                    ReferenceOperations.embedding(tokens, doubles(wte), positions ? doubles(wpe) : null, t, c, 0);
            assertClose("out at the start", read(out, batch * t * c), atStart, 1);

            float[] dout = gaussian(batch * t * c);
            Tensor dwte = guarded.output(vocabSize, c);
            Tensor dwpe = positions ? guarded.output(context, c) : null;
            guarded.run(new EmbeddingGradOp(ids, guarded.rows(dout, batch * t, c), dwte, dwpe), pass);
            ReferenceOperations.EmbeddingGrad grad =
                    ReferenceOperations.embeddingGrad(tokens, doubles(dout), vocabSize, context, t, c);
            assertClose("dwte", dwte.toFloats(), grad.dwte(), batch * t);
            if (positions) {
                assertClose("dwpe", dwpe.toFloats(), grad.dwpe(), batch);
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

        Pass pass = Pass.training(1, rows, 0);
        LayerNormOp norm = layerNorm(null, guarded.rows(x, rows, c), weight, bias);
        guarded.run(norm, pass);
        assertClose("out", read(norm.out(), rows * c), expected.out(), k);
        assertClose("stats", read(norm.stats(), rows * 2), expected.stats(), k);

        Tensor dx = guarded.rows(before, rows, c);
        Tensor dweight = guarded.output(c);
        Tensor dbias = guarded.output(c);
        guarded.run(new LayerNormGradOp(norm, guarded.rows(dout, rows, c), dx, dweight, dbias, null), pass);
        // The gradient is a difference of terms of this size.
        double terms = largest(doubles(dout)) * largest(doubles(weight)) * largest(expected.stats());
        assertClose("dx", read(dx, rows * c), ReferenceOperations.sum(doubles(before), grad.dx()), terms, k);
        assertClose("dweight", dweight.toFloats(), grad.dweight(), rows + k);
        assertClose("dbias", dbias.toFloats(), grad.dbias(), rows);
    }

    /** The norm of rows that are there already, or of a residual sum. */
    private LayerNormOp layerNorm(ResidualOp residual, Tensor x, float[] weight, float[] bias) {
        int c = weight.length;
        int rows = Math.toIntExact(x.size() / c);
        return new LayerNormOp(
                residual,
                x,
                guarded.of(weight, c),
                guarded.of(bias, c),
                guarded.output(rows, c),
                guarded.output(rows, 2),
                null);
    }

    @Test
    void layerNormOfRowsOfOneValueIsTheBias() {
        int c = 33;
        float[] x = new float[3 * c];
        Arrays.fill(x, c, 2 * c, 0.5f);
        Arrays.fill(x, 2 * c, 3 * c, Float.NaN);
        float[] bias = gaussian(c);
        LayerNormOp norm = layerNorm(null, guarded.rows(x, 3, c), gaussian(c), bias);
        guarded.run(norm, Pass.evaluation(1, 3));
        float[] rows = read(norm.out(), 3 * c);
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
        Pass pass = Pass.training(1, rows, 0);
        Tensor tx = guarded.rows(x, rows, c);
        Tensor tweight = guarded.of(weight, c);
        Tensor out = guarded.outputRows(rows, c);
        Tensor stats = guarded.outputRows(rows, 1);
        guarded.run(new RmsNormOp(tx, tweight, out, stats, null), pass);
        assertClose("out", read(out, rows * c), expected.out(), c);
        assertClose("stats", read(stats, rows), expected.stats(), c);

        Tensor dx = guarded.rows(before, rows, c);
        Tensor dweight = guarded.output(c);
        guarded.run(new RmsNormGradOp(tx, tweight, stats, guarded.rows(dout, rows, c), dx, dweight), pass);
        double terms = largest(doubles(dout)) * largest(doubles(weight)) * largest(expected.stats());
        assertClose("dx", read(dx, rows * c), ReferenceOperations.sum(doubles(before), grad.dx()), terms, c);
        assertClose("dweight", dweight.toFloats(), grad.dweight(), rows + c);
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
            double[] expected =
                    ReferenceOperations.quantizeWeights(w, quantization == Quantization.BITNET, matrices, n);
            assertExact(quantization.label(), quantized(w, quantization, matrices), expected);
        }
    }

    /** Ties go to the even number; what equals the mean counts as positive. */
    @Test
    void quantizingWeightsThatLieBetweenTwoValues() {
        float[] w = {1.5f, -1.5f, 0.5f, -0.5f, 2.5f, -0.5f, 0.5f, 1f}; // mean 0.4375, mean magnitude 1.0625
        assertThat(quantized(new float[] {0.5f, -0.5f, 1.5f, -1.5f}, Quantization.B158, 1))
                .containsExactly(0, 0, 1, -1);
        assertThat(quantized(new float[] {2, 2, 2, 2}, Quantization.BITNET, 1)).containsExactly(2, 2, 2, 2);
        assertThat(quantized(w, Quantization.BITNET, 1))
                .containsExactly(1.0625f, -1.0625f, 1.0625f, -1.0625f, 1.0625f, -1.0625f, 1.0625f, 1.0625f);
    }

    private float[] quantized(float[] w, Quantization quantization, int matrices) {
        Tensor q = guarded.output(w.length);
        guarded.run(new QuantizeWeightsOp(guarded.of(w, w.length), quantization, matrices, null, q));
        return q.toFloats();
    }

    @ParameterizedTest
    @CsvSource({"1,1,1", "2,2,1", "3,31,100", "5,33,1e-3", "31,80,1", "127,32,5", "2,1000,1", "9,1028,1", "3,5000,0.1"})
    void quantizeRows(int rows, int c, float size) {
        float[] x = gaussian(rows * c);
        for (int i = 0; i < x.length; i++) {
            x[i] = i / c == 1 ? 0 : x[i] * size; // a row of zeros stays one
        }
        Tensor q = guarded.outputRows(rows, c);
        guarded.run(new QuantizeRowsOp(guarded.rows(x, rows, c), null, q), Pass.evaluation(1, rows));
        assertExact("q", read(q, rows * c), ReferenceOperations.quantizeRows(x, rows, c));
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
        Tensor out = guarded.outputRows(rows, c);
        guarded.run(new SoftmaxOp(guarded.rows(x, rows, c), out, causal), pass);
        assertClose("y", read(out, rows * c), y, c);
        Tensor inPlace = guarded.rows(x, rows, c);
        guarded.run(new SoftmaxOp(inPlace, inPlace, causal), pass);
        assertClose("y over x", read(inPlace, rows * c), y, c);

        float[] dy = gaussian(rows * c);
        double[] dx = ReferenceOperations.softmaxGrad(y, doubles(dy), causal, rows, c);
        Tensor grad = guarded.outputRows(rows, c);
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
            Pass pass = rowsFrom(firstRow, rows);
            Tensor added = biased ? guarded.of(branchBias, c) : null;
            Tensor tx = guarded.rows(x, rows, c);
            Tensor tbranch = guarded.rows(branch, rows, c);
            Tensor sum = guarded.outputRows(rows, c);
            ResidualOp residual = new ResidualOp(tx, tbranch, added, dropout, sum);
            guarded.run(residual, pass);
            assertClose("sum", read(sum, n), expected, 1);

            Tensor inPlace = guarded.rows(x, rows, c);
            guarded.run(new ResidualOp(inPlace, tbranch, added, dropout, inPlace), pass);
            assertClose("sum over x", read(inPlace, n), expected, 1);

            LayerNormOp norm = layerNorm(residual, sum, weight, bias);
            guarded.run(norm, pass);
            ReferenceOperations.LayerNorm normed =
                    ReferenceOperations.layerNorm(expected, doubles(weight), doubles(bias), rows, c);
            assertClose("fused sum", read(sum, n), expected, 1);
            assertClose("fused norm", read(norm.out(), n), normed.out(), c);
            assertClose("fused stats", read(norm.stats(), 2 * rows), normed.stats(), c);

            double[] dexpected = ReferenceOperations.residualGrad(doubles(x), mask);
            Tensor dbranch = guarded.outputRows(rows, c);
            Tensor dbias = biased ? guarded.output(c) : null;
            guarded.run(new ResidualGradOp(tx, dropout, dbranch, dbias), pass);
            assertClose("dbranch", read(dbranch, n), dexpected, 1);
            if (biased) {
                assertClose("dbias", dbias.toFloats(), ReferenceOperations.columnSums(dexpected, rows, c), rows);
            }
            residualNormGrad(norm, pass, expected, mask, dout, x);
        }
    }

    /** The gradient of a residual sum and the norm of it, once beside the norm's output gradient and once over it. */
    private void residualNormGrad(
            LayerNormOp norm, Pass pass, double[] sum, double[] mask, float[] dout, float[] dsum) {
        int n = sum.length;
        int rows = pass.rows();
        int c = n / rows;
        float[] rounded = new float[n];
        for (int i = 0; i < n; i++) {
            rounded[i] = (float) sum[i];
        }
        norm.x().write(rounded);
        double[] weight = doubles(norm.weight().toFloats());
        ReferenceOperations.LayerNormGrad grad = ReferenceOperations.layerNormGrad(sum, weight, doubles(dout), rows, c);
        double[] dx = ReferenceOperations.sum(doubles(dsum), grad.dx());
        double[] dbranch = ReferenceOperations.residualGrad(dx, mask);
        double inverse = 0; // of the smallest deviation
        float[] deviations = read(norm.stats(), 2 * rows);
        for (int r = 0; r < rows; r++) {
            inverse = Math.max(inverse, deviations[2 * r + 1]);
        }
        double terms = largest(doubles(dout)) * largest(weight) * inverse + largest(dx);
        for (boolean over : new boolean[] {false, true}) {
            Tensor tdout = guarded.rows(dout, rows, c);
            Tensor tdsum = guarded.rows(dsum, rows, c);
            Tensor tdbranch = over ? tdout : guarded.outputRows(rows, c);
            Tensor dweight = guarded.output(c);
            Tensor dbias = guarded.output(c);
            Tensor dbranchBias = guarded.output(c);
            ResidualGradOp residual = new ResidualGradOp(tdsum, norm.residual().dropout(), tdbranch, dbranchBias);
            guarded.run(new LayerNormGradOp(norm, tdout, tdsum, dweight, dbias, residual), pass);
            double k = c * 4;
            assertClose("fused dsum", read(tdsum, n), dx, terms, k);
            assertClose("fused dbranch", read(tdbranch, n), dbranch, 2 * terms, k);
            assertClose("fused dweight", dweight.toFloats(), grad.dweight(), rows + k);
            assertClose("fused dbias", dbias.toFloats(), grad.dbias(), rows);
            double[] sums = ReferenceOperations.columnSums(dbranch, rows, c);
            assertClose("fused dbranch bias", dbranchBias.toFloats(), sums, 2 * terms * Math.sqrt(rows), k);
        }
    }

    @ParameterizedTest
    @ValueSource(floats = {0.0001f, 0.1f, 0.5f, 0.9f})
    void dropoutKeepsItsShareAndTheMean(float probability) {
        int rows = 100;
        int c = 1000;
        int n = rows * c;
        Dropout dropout = dropout(probability);
        Tensor sum = guarded.outputRows(rows, c);
        Tensor zeros = guarded.rows(new float[n], rows, c);
        Tensor ones = guarded.rows(filled(n, 1), rows, c);
        guarded.run(new ResidualOp(zeros, ones, null, dropout, sum), rowsFrom(3, rows));
        float[] factors = read(sum, n);
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
                new RandomStream(1, 20, guarded.ints(1)),
                new RandomStream(1, 20, guarded.ints(2)),
                new RandomStream(1, 21, guarded.ints(1)),
                new RandomStream(2, 20, guarded.ints(1)),
                new RandomStream(1L << 32 | 1, 20, guarded.ints(1)))) {
            Tensor mask = guarded.outputRows(1, n);
            Tensor ones = guarded.rows(filled(n, 1), 1, n);
            guarded.run(new ResidualGradOp(ones, new Dropout(0.5f, stream), mask, null), Pass.training(1, 1, 0));
            masks.add(read(mask, n));
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
                        ReferenceOperations.attention(doubles(qkv), mask, batch, t, heads);
                double[] dexpected =
                        ReferenceOperations.attentionGrad(doubles(qkv), doubles(dout), mask, batch, t, heads);

                Pass pass = Pass.training(batch, t, firstSequence);
                AttentionOp attention = attention(qkv, dropout, heads, rows);
                guarded.run(attention, pass);
                assertClose("out", read(attention.out(), rows * width), expected.out(), t + headSize);
                assertClose("lse", logDenominators(attention, rows), expected.lse(), t + headSize);
                assertThirdsClose(attentionGrad(attention, dout, pass), dexpected, rows, width, t + headSize);
            }
        }
    }

    private AttentionOp attention(float[] qkv, Dropout dropout, int heads, int rows) {
        int width = qkv.length / rows / 3;
        return new AttentionOp(
                guarded.rows(qkv, rows, 3 * width),
                guarded.outputRows(rows, width),
                guarded.outputRows(rows, 2 * heads),
                dropout,
                heads);
    }

    /** dqkv. */
    private float[] attentionGrad(AttentionOp forward, float[] dout, Pass pass) {
        int rows = pass.rows();
        int width = dout.length / rows;
        Tensor dqkv = guarded.outputRows(rows, 3 * width);
        guarded.run(new AttentionGradOp(forward, guarded.rows(dout, rows, width), dqkv), pass);
        return read(dqkv, 3 * dout.length);
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
        AttentionOp attention = attention(filled(3 * n, Float.NaN), null, heads, t);
        attention.out().write(filled(n, Float.NaN));
        attention.stats().write(filled(2 * t * heads, Float.NaN));
        assertThat(attentionGrad(attention, filled(n, Float.NaN), Pass.training(1, t, 0)))
                .containsOnly(Float.NaN);
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
            ReferenceOperations.Attention expected = ReferenceOperations.attention(doubles(qkv), null, 1, t, 1);
            double[] dexpected = ReferenceOperations.attentionGrad(doubles(qkv), doubles(dout), null, 1, t, 1);
            Pass pass = Pass.training(1, t, 0);
            AttentionOp attention = attention(qkv, null, 1, t);
            guarded.run(attention, pass);
            // A weight is as uncertain as its score, of which float32 knows 7 digits.
            double k = (t + headSize) * (1 + size * size / 100);
            assertClose("out", read(attention.out(), t * headSize), expected.out(), k);
            assertClose("lse", logDenominators(attention, t), expected.lse(), k);
            assertClose("dqkv", attentionGrad(attention, dout, pass), dexpected, k);
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
            Pass pass = Pass.training(1, t, 0);
            AttentionOp attention = attention(qkv, null, heads, t);
            AttentionOp changedAttention = attention(other, null, heads, t);
            guarded.run(attention, pass);
            guarded.run(changedAttention, pass);
            float[] out = read(attention.out(), t * width);
            float[] otherOut = read(changedAttention.out(), t * width);
            int before = changed * width;
            assertThat(Arrays.copyOf(otherOut, before)).isEqualTo(Arrays.copyOf(out, before));
            assertThat(otherOut[before]).isNotEqualTo(out[before]);

            // And nobody before the first gradient gets one from it, but as key or value.
            float[] late = dout.clone();
            Arrays.fill(late, 0, before, 0f);
            float[] grad = attentionGrad(attention, late, pass);
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
                // A key of infinity makes a score of minus infinity, and so a weight of 0, where the query is negative.
                qkv[3 * row * headSize] = part == 1 ? 1 : qkv[3 * row * headSize];
                AttentionOp attention = attention(qkv, null, 1, t);
                guarded.run(attention, Pass.evaluation(1, t));
                float value = read(attention.out(), t * headSize)[row * headSize];
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
        Tensor keysAndValues = guarded.output(batch + 1, context, 2 * width);
        keysAndValues.write(cache);
        Tensor out = guarded.outputRows(batch * t, width);
        Tensor tqkv = guarded.rows(qkv, batch * t, 3 * width);
        guarded.run(
                new AttentionCachedOp(tqkv, keysAndValues, guarded.ints(position), out, heads),
                Pass.generation(batch, t));
        double[] expectedCache = doubles(cache);
        double[] expected = ReferenceOperations.attentionCached(doubles(qkv), expectedCache, batch, t, position, heads);
        assertClose("out", read(out, batch * t * width), expected, position + t + headSize);
        assertExact("cache", read(keysAndValues, cache.length), expectedCache);
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
        Tensor ids = guarded.intRows(targets);
        Tensor untouched = guarded.rows(logits, rows, v);
        Tensor dlogits = guarded.outputRows(rows, v);
        Tensor inPlace = guarded.rows(logits, rows, v);
        for (CrossEntropyOp op : List.of(
                new CrossEntropyOp(untouched, ids, guarded.output(1), null, gradScale),
                new CrossEntropyOp(untouched, ids, guarded.output(1), dlogits, gradScale),
                new CrossEntropyOp(inPlace, ids, guarded.output(1), inPlace, gradScale))) {
            guarded.run(op, Pass.training(1, rows, 0));
            assertLoss(op.loss().toFloats()[0], expected.loss(), rows * v);
        }
        assertClose("dlogits", read(dlogits, rows * v), expected.dlogits(), gradScale, v);
        assertClose("dlogits over logits", read(inPlace, rows * v), expected.dlogits(), gradScale, v);
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
            Tensor loss = guarded.output(1);
            Tensor dlogits = guarded.outputRows(rows, v);
            guarded.run(
                    new CrossEntropyOp(guarded.rows(logits, rows, v), guarded.intRows(targets), loss, dlogits, 1),
                    Pass.training(1, rows, 0));
            float value = loss.toFloats()[0];
            assertThat(Float.isNaN(value) || value == Float.POSITIVE_INFINITY)
                    .as("loss of %s", special)
                    .isTrue();
            float[] grad = read(dlogits, rows * v);
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
        Tensor x = guarded.outputRows(2, n);
        guarded.run(new ZeroOp(x), Pass.evaluation(1, 2));
        assertThat(read(x, 2 * n)).containsOnly(0f);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 31, 1000})
    void copy(int n) {
        float[] source = gaussian(n);
        Tensor target = guarded.output(n);
        guarded.run(new CopyOp(guarded.of(source, n), target));
        assertThat(target.toFloats()).containsExactly(source);
    }

    @ParameterizedTest
    @ValueSource(ints = {0, -1, 41, Integer.MAX_VALUE - 1})
    void increment(int from) {
        Tensor counter = guarded.ints(from);
        guarded.run(new IncrementOp(counter));
        assertThat(counter.toInts()).containsExactly(from + 1);
    }

    // ---------------------------------------------------------------------------------------------- training

    @ParameterizedTest
    @CsvSource({"20,4,8,0", "5,4,3,6", "65000,33,7,1234567890123", "3,1,31,2"})
    void gatherBatch(int length, int t, int batch, long firstSequence) {
        int[] corpus = IntStream.range(0, length).map(i -> (i * 7 + 3) % 65536).toArray();
        Tensor tokens = guarded.corpus(corpus);
        for (int step : new int[] {0, 1, Integer.MAX_VALUE}) {
            RandomStream stream = new RandomStream(SEED, RandomStream.TRAIN_BATCH, guarded.ints(step));
            Tensor x = guarded.intRows(new int[batch * t]);
            Tensor y = guarded.intRows(new int[batch * t]);
            Pass pass = Pass.training(batch, t, firstSequence);
            guarded.run(new GatherBatchOp(tokens, stream, x, y), pass);
            ReferenceOperations.Batch expected =
                    ReferenceOperations.gatherBatch(corpus, SEED, RandomStream.TRAIN_BATCH, step, pass);
            assertThat(readInts(x, batch * t)).isEqualTo(expected.x());
            assertThat(readInts(y, batch * t)).isEqualTo(expected.y());
        }
    }

    @Test
    void batchesStartAtEveryPlaceOfTheCorpusEquallyOften() {
        int length = 23;
        int t = 4;
        int places = length - t;
        int draws = 19_000;
        int[] corpus = IntStream.range(0, length).toArray();
        Tensor x = guarded.ints(new int[draws * t]);
        Tensor y = guarded.ints(new int[draws * t]);
        RandomStream stream = new RandomStream(3, 1, guarded.ints(9));
        guarded.run(new GatherBatchOp(guarded.corpus(corpus), stream, x, y), Pass.training(draws, t, 0));
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
        List<Tensor> parts =
                Arrays.stream(values).map(part -> guarded.of(part, n)).toList();
        for (int count = 1; count <= 3; count++) {
            double[][] some = Arrays.stream(values, 0, count)
                    .map(ReferenceOperations::doubles)
                    .toArray(double[][]::new);
            double[] expected = ReferenceOperations.sum(some);
            Tensor sum = guarded.output(n);
            guarded.run(new SumOp(parts.subList(0, count), false, sum));
            assertClose("sum", sum.toFloats(), expected, count);

            float[] before = gaussian(n);
            Tensor more = guarded.of(before, n);
            guarded.run(new SumOp(parts.subList(0, count), true, more));
            assertClose("sum added", more.toFloats(), ReferenceOperations.sum(doubles(before), expected), count);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 31, 33, 1000, 32767, 32768, 32769, 100_003, 300_007})
    void gradNorm(int n) {
        float[] x = gaussian(n);
        assertNorm(x);
        assertNorm(new float[n]);
        assertNorm(filled(n, 0.1f));
        for (float special : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
            x[n - 1] = special;
            assertThat(gradNorm(x)).containsExactly(special); // any NaN is as good as another: a GPU has its own
        }
    }

    private void assertNorm(float[] x) {
        double[] expected = {ReferenceOperations.gradNorm(doubles(x))};
        assertClose("norm", gradNorm(x), expected, x.length);
    }

    private float[] gradNorm(float[] x) {
        Tensor norm = guarded.output(1);
        guarded.run(new GradNormOp(guarded.of(x, x.length), norm));
        return norm.toFloats();
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
        float gradNorm = (float) ReferenceOperations.gradNorm(doubles(grads));
        double[] p = doubles(params);
        double[] m = doubles(first);
        double[] v = doubles(second);
        ReferenceOperations.adamW(
                new ReferenceOperations.AdamWState(p, m, v), doubles(grads), learningRate, step, gradNorm, settings);
        AdamWOp.State state = adamWState(params, grads, first, second);
        adamW(state, learningRate, step, gradNorm, settings);
        assertClose("params", state.params().toFloats(), p, 4);
        assertClose("first moments", state.firstMoments().toFloats(), m, 1);
        assertClose("second moments", state.secondMoments().toFloats(), v, 1);
    }

    private AdamWOp.State adamWState(float[] params, float[] grads, float[] first, float[] second) {
        int n = params.length;
        Tensor weights = guarded.of(params, n);
        return new AdamWOp.State(weights, weights, guarded.of(grads, n), guarded.of(first, n), guarded.of(second, n));
    }

    private void adamW(AdamWOp.State state, float learningRate, int step, float gradNorm, AdamWSettings settings) {
        guarded.run(new AdamWOp(
                state,
                guarded.of(new float[] {learningRate}, 1),
                guarded.ints(step),
                guarded.of(new float[] {gradNorm}, 1),
                settings));
    }

    @Test
    void adamWLeavesOthersAloneWhereOneGradientIsNan() {
        float[] grads = gaussian(100);
        grads[40] = Float.NaN;
        AdamWOp.State state = adamWState(gaussian(100), grads, new float[100], new float[100]);
        adamW(state, 1e-3f, 1, 1, new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.01f, 0));
        float[] after = state.params().toFloats();
        for (int i = 0; i < 100; i++) {
            assertThat(Float.isNaN(after[i])).as("parameter %d", i).isEqualTo(i == 40);
        }
    }

    @Test
    void adamWPassesTheNanOfAGradientThatIsClippedOn() {
        AdamWOp.State state = adamWState(gaussian(33), gaussian(33), new float[33], new float[33]);
        adamW(state, 1e-3f, 1, Float.NaN, new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.01f, 1));
        assertThat(state.params().toFloats()).containsOnly(Float.NaN);
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
        Tensor tokens = guarded.intRows(new int[batch]);
        RandomStream stream = new RandomStream(SEED, RandomStream.SAMPLE, guarded.ints(STEP));
        Tensor tlogits = guarded.rows(logits, batch * t, v);
        guarded.run(
                new SampleOp(tlogits, sampling, stream, guarded.ints(firstSequence), tokens),
                Pass.generation(batch, t));
        int[] drawn = readInts(tokens, batch);
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
        Tensor tokens = guarded.ints(new int[draws]);
        RandomStream stream = new RandomStream(1, 4, guarded.ints(1));
        guarded.run(
                new SampleOp(guarded.rows(logits, draws, v), Sampling.PLAIN, stream, null, tokens),
                Pass.generation(draws, 1));
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
        Tensor logits = guarded.rows(gaussian(batch * v), batch, v);
        RandomStream stream = new RandomStream(SEED, RandomStream.SAMPLE, guarded.ints(STEP));
        Tensor first = guarded.ints(new int[batch]);
        Tensor left = guarded.ints(new int[batch]);
        Pass pass = Pass.generation(batch, 1);
        guarded.run(new SampleOp(logits, Sampling.PLAIN, stream, guarded.ints(0), first), pass);
        guarded.run(new SampleOp(logits, Sampling.PLAIN, stream, null, left), pass);
        assertThat(left.toInts()).isEqualTo(first.toInts());
    }

    // 256 and 512: where a block begins to take several rounds
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 31, 33, 80, 255, 256, 257, 512, 513, 1000})
    void append(int t) {
        for (int batch : new int[] {1, 2, 7}) {
            int[] before = tokens(batch * t, 65);
            int[] next = tokens(batch, 65);
            Tensor windows = guarded.intRows(before);
            guarded.run(new AppendOp(windows, guarded.ints(next)), Pass.generation(batch, t));
            assertThat(readInts(windows, batch * t)).isEqualTo(ReferenceOperations.append(before, next, batch, t));
        }
    }

    // ---------------------------------------------------------------------------------------------- running

    /** As many as asked for or fewer, in parts that leave few over, and the fewer the more there is to do. */
    @Test
    void aLaunchRepeatsNoMoreThanThereIsToRepeat() {
        for (int times : new int[] {1, 2, 7, 50, 51, 255, 500, Integer.MAX_VALUE}) {
            int most = backend().repetitionsPerLaunch(times, 1);
            assertThat(most).isBetween(1, times);
            assertThat(times % most).isLessThanOrEqualTo(times / most);
            assertThat(backend().repetitionsPerLaunch(times, 1e10)).isBetween(1, most);
            assertThat(backend().repetitionsPerLaunch(times, 1e15)).isOne();
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
        Tensor x = guarded.of(new float[] {1, 2, 3}, 3);
        Tensor sum = guarded.of(new float[3], 3);
        SumOp op = new SumOp(List.of(x), true, sum);
        Runnable work = backend().record(arena, () -> backend().sum(op));
        work.run();
        x.write(10f, 20f, 30f);
        work.run();
        work.run();
        assertThat(sum.toFloats()).isEqualTo(new float[] {21, 42, 63});
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

    private int[] tokens(int n, int vocabSize) {
        return random.ints(n, 0, vocabSize).toArray();
    }

    /** A pass over rows whose masks begin with that of a row. */
    private static Pass rowsFrom(long firstRow, int rows) {
        return Pass.training(rows, 1, firstRow);
    }

    private static int[] readInts(Tensor tensor, int n) {
        return Arrays.copyOf(tensor.toInts(), n);
    }

    private Dropout dropout(float probability) {
        return probability == 0 ? null : new Dropout(probability, new RandomStream(SEED, PURPOSE, guarded.ints(STEP)));
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
    private static float[] logDenominators(AttentionOp attention, int rows) {
        float[] stats = read(attention.stats(), 2 * attention.heads() * rows);
        float[] logs = new float[stats.length / 2];
        for (int i = 0; i < logs.length; i++) {
            logs[i] = (float) (stats[2 * i] - Math.log(stats[2 * i + 1]));
        }
        return logs;
    }
}
