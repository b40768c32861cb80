package io.github.drakegpt.backend;

import static io.github.drakegpt.backend.GuardedTensors.read;
import static io.github.drakegpt.backend.ReferenceOperations.doubles;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.CopyOp;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.EmbeddingGradOp;
import io.github.drakegpt.ops.EmbeddingOp;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Operation;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.QuantizeRowsOp;
import io.github.drakegpt.ops.QuantizeWeightsOp;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.ops.ReluGradOp;
import io.github.drakegpt.ops.ResidualGradOp;
import io.github.drakegpt.ops.ResidualOp;
import io.github.drakegpt.ops.RmsNormGradOp;
import io.github.drakegpt.ops.RmsNormOp;
import io.github.drakegpt.ops.SoftmaxGradOp;
import io.github.drakegpt.ops.SoftmaxOp;
import io.github.drakegpt.ops.ZeroOp;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;
import java.util.Random;
import java.util.function.BiFunction;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Operations on BF16 against the same on F32, which {@link BackendOperations} tests: of inputs that bfloat16 holds exactly, both
 * compute in float32, so that what differs is the rounding of the output, by half of 2^-7 of each element, and the order of sums.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
public abstract class Bf16Operations {
    /** Half the distance of two bfloat16 and a little, relative to the smaller. */
    private static final double ROUNDING = 0x1.04p-8;
    /** Of the largest element: float32's share, which sums of another order have. */
    private static final double SUMS = 1e-5;

    private static final long SEED = 0x1234_5678_9ABC_DEF0L;

    private Random random;
    private Arena arena;
    private GuardedTensors guarded;

    /** The backend to test, the same one at each call; closed after the last test. */
    protected abstract Backend backend();

    @BeforeEach
    void openArena() {
        random = new Random(42);
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

    @ParameterizedTest
    @CsvSource({
        "1,1,1",
        "2,33,31",
        "31,2,80",
        "80,127,1",
        "127,384,65",
        "64,128,96",
        "1024,8,65",
        "1030,16,64",
        "1024,16,1",
        "1025,24,7",
        "1024,8,100",
        "1024,7,65"
    })
    void linear(int rows, int in, int out) {
        eachPlace(() -> {
            float[] x = exact(rows * in);
            float[] w = exact(out * in);
            Tensor bias = f32(out);
            for (boolean relu : new boolean[] {false, true}) {
                for (Tensor added : new Tensor[] {null, bias}) {
                    int roundings = added == null ? 1 : 2; // the bias is added to a product that has been rounded
                    float[] y = both(
                            rows,
                            out,
                            roundings,
                            (type, result) ->
                                    new LinearOp(rows(type, x, rows), weights(type, w, out), added, relu, result));
                    Tensor logits = guarded.outputRows(DType.F32, rows, out);
                    guarded.run(
                            new LinearOp(rows(DType.BF16, x, rows), weights(DType.BF16, w, out), added, relu, logits),
                            pass(rows));
                    assertClose("float32 from bfloat16", read(logits, rows * out), y, 0);
                }
            }
        });
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,1",
        "2,33,31",
        "31,2,80",
        "80,127,1",
        "300,40,65",
        "1024,8,65",
        "1030,16,64",
        "1024,16,1",
        "1025,24,7",
        "1024,8,100",
        "1024,7,65"
    })
    void linearGrad(int rows, int in, int out) {
        eachPlace(() -> {
            float[] x = exact(rows * in);
            float[] w = exact(out * in);
            float[] dy = exact(rows * out);
            Tensor[] dw = outputs(out, in);
            Tensor[] dbias = outputs(out);
            both(rows, in, 1, (type, dx) -> {
                int i = index(type);
                return new LinearGradOp(
                        rows(type, x, rows), weights(type, w, out), rows(type, dy, rows), dx, dw[i], dbias[i]);
            });
            assertClose("dw", dw, 0);
            assertClose("dbias", dbias, 0);
        });
    }

    /** Logits, their loss and all gradients of a head for many rows, against float64. */
    @ParameterizedTest
    @ValueSource(ints = {65, 64, 1, 7, 100})
    void aHead(int vocabSize) {
        int rows = 1024;
        int in = 16;
        Pass pass = pass(rows);
        eachPlace(() -> {
            float[] x = exact(rows * in);
            float[] w = exact(vocabSize * in);
            float[] bias = exact(vocabSize);
            int[] targets = random.ints(rows, 0, vocabSize).toArray();
            Tensor xs = rows(DType.BF16, x, rows);
            Tensor ws = weights(DType.BF16, w, vocabSize);
            Tensor logits = guarded.outputRows(DType.F32, rows, vocabSize);
            guarded.run(new LinearOp(xs, ws, guarded.of(bias, vocabSize), false, logits), pass);
            double[] expected = ReferenceOperations.linear(doubles(x), doubles(w), doubles(bias), false, in);
            assertNear("logits", read(logits, expected.length), expected, SUMS);

            Tensor loss = guarded.output(DType.F32, 1);
            Tensor dlogits = guarded.outputRows(DType.BF16, rows, vocabSize);
            float scale = 1f / rows;
            guarded.run(new CrossEntropyOp(logits, guarded.intRows(targets), loss, dlogits, scale), pass);
            ReferenceOperations.CrossEntropy reference =
                    ReferenceOperations.crossEntropy(expected, targets, scale, rows, vocabSize);
            assertNear("loss", loss.toFloats(), new double[] {reference.loss()}, SUMS);

            Tensor dx = guarded.outputRows(DType.BF16, rows, in);
            Tensor dw = guarded.output(DType.F32, vocabSize, in);
            Tensor dbias = guarded.output(DType.F32, vocabSize);
            LinearGradOp backward = new LinearGradOp(xs, ws, dlogits, dx, dw, dbias);
            Runnable recorded = backend().record(arena, () -> backward.run(backend(), pass));
            for (int run = 0; run < 3; run++) { // launched, recorded on two streams, replayed
                guarded.run(backward, pass, recorded);
            }
            ReferenceOperations.LinearGrad grads =
                    ReferenceOperations.linearGrad(doubles(x), doubles(w), reference.dlogits(), rows, in, vocabSize);
            // each element of dlogits is rounded, and dx once more
            assertNear("dx", read(dx, rows * in), grads.dx(), 2 * ROUNDING);
            assertNear("dw", dw.toFloats(), grads.dw(), ROUNDING);
            assertNear("dbias", dbias.toFloats(), grads.dbias(), ROUNDING);
        });
    }

    @ParameterizedTest
    @CsvSource({"1,1", "2,2", "1,31", "31,80", "5,127", "300,33", "3,1000"})
    void reluGrad(int rows, int c) {
        eachPlace(() -> {
            int n = rows * c;
            float[] y = exact(n);
            float[] dy = exact(n);
            float[] expected = dy.clone();
            for (int i = 0; i < n; i++) {
                expected[i] = y[i] > 0 ? dy[i] : 0;
            }
            Tensor[] dbias = outputs(c);
            for (DType type : TYPES) {
                Tensor grad = rows(type, dy, rows);
                guarded.run(new ReluGradOp(rows(type, y, rows), grad, dbias[index(type)]), pass(rows));
                assertThat(read(grad, n)).isEqualTo(expected);
            }
            assertClose("dbias", dbias, 0);
        });
    }

    @ParameterizedTest
    @CsvSource({"1,1,1,11", "2,7,31,11", "3,8,33,5", "2,33,80,11", "40,30,64,7"})
    void embedding(int batch, int t, int c, int vocabSize) {
        eachPlace(() -> {
            int rows = batch * t;
            Pass pass = Pass.evaluation(batch, t);
            Tensor tokens = guarded.intRows(random.ints(rows, 0, vocabSize).toArray());
            Tensor wte = f32(vocabSize, c);
            Tensor wpe = f32(t + 2, c);
            both(rows, c, 1, pass, (type, out) -> new EmbeddingOp(tokens, wte, wpe, null, out));
            float[] dout = exact(rows * c);
            Tensor[] dwte = outputs(vocabSize, c);
            Tensor[] dwpe = outputs(t + 2, c);
            for (DType type : TYPES) {
                int i = index(type);
                guarded.run(new EmbeddingGradOp(tokens, rows(type, dout, rows), dwte[i], dwpe[i]), pass);
            }
            assertClose("dwte", dwte, 0);
            assertClose("dwpe", dwpe, 0);
        });
    }

    /** A GPU cannot say so; nothing is read for it. */
    @ParameterizedTest
    @ValueSource(ints = {-1, 11, Integer.MIN_VALUE, Integer.MAX_VALUE})
    void theEmbeddingOfWhatIsNoTokenIsNotANumber(int token) {
        int c = 40;
        eachPlace(() -> {
            Tensor tokens = guarded.intRows(10, token, 0);
            Tensor wte = f32(11, c);
            for (Tensor wpe : new Tensor[] {null, f32(3, c)}) {
                for (DType type : TYPES) {
                    Tensor out = guarded.outputRows(type, 3, c);
                    guarded.run(new EmbeddingOp(tokens, wte, wpe, null, out), Pass.evaluation(1, 3));
                    float[] values = read(out, 3 * c);
                    for (int i = 0; i < 3 * c; i++) {
                        assertThat(Float.isNaN(values[i])).as("element %d", i).isEqualTo(i / c == 1);
                    }
                }
            }
        });
    }

    @ParameterizedTest
    @CsvSource({
        "1,1",
        "2,2",
        "3,31",
        "31,80",
        "5,127",
        "2,384",
        "3,1000",
        "130,1032",
        "2,2048",
        "2,2049",
        "130,2056",
        "1100,5",
        "2,8192"
    })
    void layerNorm(int rows, int c) {
        eachPlace(() -> {
            int n = rows * c;
            float[] x = exact(n);
            float[] dout = exact(n);
            float[] before = exact(n);
            Tensor weight = f32(c);
            Tensor bias = f32(c);
            Tensor[] stats = statistics(rows, 2);
            both(rows, c, 1, (type, out) -> {
                return new LayerNormOp(null, rows(type, x, rows), weight, bias, out, stats[index(type)], null);
            });
            assertClose("stats", read(stats[1], 2 * rows), read(stats[0], 2 * rows), 0);

            Tensor[] dx = new Tensor[2];
            Tensor[] dweight = outputs(c);
            Tensor[] dbias = outputs(c);
            for (DType type : TYPES) {
                int i = index(type);
                dx[i] = rows(type, before, rows);
                Tensor out = guarded.outputRows(type, rows, c);
                LayerNormOp norm = new LayerNormOp(null, rows(type, x, rows), weight, bias, out, stats[0], null);
                guarded.run(
                        new LayerNormGradOp(norm, rows(type, dout, rows), dx[i], dweight[i], dbias[i], null),
                        pass(rows));
            }
            assertClose("dx", read(dx[1], n), read(dx[0], n), 1);
            assertClose("dweight", dweight, 0);
            assertClose("dbias", dbias, 0);
        });
    }

    @ParameterizedTest
    @CsvSource({"1,1", "3,31", "31,80", "5,127", "3,1000", "130,1032", "2,2048", "2,3001", "130,2056", "1100,5"})
    void rmsNorm(int rows, int c) {
        eachPlace(() -> {
            int n = rows * c;
            float[] x = exact(n);
            float[] dout = exact(n);
            float[] before = exact(n);
            Tensor weight = f32(c);
            Tensor[] stats = statistics(rows, 1);
            both(rows, c, 1, (type, out) -> {
                return new RmsNormOp(rows(type, x, rows), weight, out, stats[index(type)], null);
            });
            Tensor[] dx = new Tensor[2];
            Tensor[] dweight = outputs(c);
            for (DType type : TYPES) {
                int i = index(type);
                dx[i] = rows(type, before, rows);
                guarded.run(
                        new RmsNormGradOp(
                                rows(type, x, rows), weight, stats[0], rows(type, dout, rows), dx[i], dweight[i]),
                        pass(rows));
            }
            assertClose("dx", read(dx[1], n), read(dx[0], n), 1);
            assertClose("dweight", dweight, 0);
        });
    }

    @ParameterizedTest
    @CsvSource({"1,1,0", "2,2,1", "3,31,5", "31,33,3", "5,127,9", "3,1000,1001", "2,4096,1"})
    void residual(int rows, int c, long firstRow) {
        eachPlace(() -> {
            Pass pass = Pass.training(rows, 1, firstRow);
            float[] x = exact(rows * c);
            float[] branch = exact(rows * c);
            Tensor bias = f32(c);
            RandomStream stream = new RandomStream(SEED, RandomStream.dropout(1), guarded.ints(0));
            for (Dropout dropout : new Dropout[] {null, new Dropout(0.3f, stream)}) {
                both(rows, c, 1, pass, (type, sum) -> {
                    return new ResidualOp(rows(type, x, rows), rows(type, branch, rows), bias, dropout, sum);
                });
                both(rows, c, 1, pass, (type, dbranch) -> {
                    return new ResidualGradOp(rows(type, x, rows), dropout, dbranch, null);
                });
            }
        });
    }

    /** Bit by bit: what the next layer reads is the norm of the sum that the residual stream keeps. */
    @ParameterizedTest
    @CsvSource({"1,1", "3,31", "31,80", "2,1000", "2,3001"})
    void residualNormIsTheNormOfTheSumAsItIsKept(int rows, int c) {
        eachPlace(() -> {
            int n = rows * c;
            Tensor x = rows(DType.BF16, exact(n), rows);
            Tensor branch = rows(DType.BF16, exact(n), rows);
            Tensor added = f32(c);
            Tensor weight = f32(c);
            Tensor bias = f32(c);
            Tensor[] stats = statistics(rows, 2);
            Tensor[] sums = new Tensor[2];
            Tensor[] outs = new Tensor[2];
            for (int i = 0; i < 2; i++) {
                sums[i] = guarded.outputRows(DType.BF16, rows, c);
                outs[i] = guarded.outputRows(DType.BF16, rows, c);
                ResidualOp residual = new ResidualOp(x, branch, added, null, sums[i]);
                if (i == 1) {
                    guarded.run(residual, pass(rows));
                }
                guarded.run(
                        new LayerNormOp(i == 0 ? residual : null, sums[i], weight, bias, outs[i], stats[i], null),
                        pass(rows));
            }
            assertThat(read(sums[0], n)).isEqualTo(read(sums[1], n));
            assertThat(read(outs[0], n)).isEqualTo(read(outs[1], n));
            assertThat(read(stats[0], 2 * rows)).isEqualTo(read(stats[1], 2 * rows));
        });
    }

    @ParameterizedTest
    @CsvSource({"1,1,false", "31,31,true", "33,80,false", "66,33,true", "3,127,false", "3,5000,false"})
    void softmax(int rows, int c, boolean causal) {
        eachPlace(() -> {
            float[] x = exact(rows * c);
            float[] y = rounded(both(rows, c, 1, (type, out) -> new SoftmaxOp(rows(type, x, rows), out, causal)));
            float[] dy = exact(rows * c);
            both(rows, c, 1, (type, dx) -> {
                return new SoftmaxGradOp(rows(type, y, rows), rows(type, dy, rows), dx, causal);
            });
        });
    }

    @ParameterizedTest
    @CsvSource({"1,1", "3,31", "31,65", "5,80", "3,1000", "2,5000"})
    void crossEntropy(int rows, int v) {
        eachPlace(() -> {
            Tensor logits = rows(DType.F32, exact(rows * v), rows);
            Tensor targets = guarded.intRows(random.ints(rows, 0, v).toArray());
            Tensor loss = guarded.output(DType.F32, 1);
            both(rows, v, 1, (type, dlogits) -> new CrossEntropyOp(logits, targets, loss, dlogits, 0.01f));
        });
    }

    /** In rows for a warp, and in those for a block. */
    @ParameterizedTest
    @CsvSource({"40,-1", "40,40", "40,-2147483648", "40,2147483647", "1030,-1", "1030,1030"})
    void theLossOfATargetThatIsNoTokenIsNotANumber(int v, int target) {
        eachPlace(() -> {
            Tensor logits = rows(DType.F32, exact(3 * v), 3);
            Tensor targets = guarded.intRows(0, target, v - 1);
            Tensor loss = guarded.output(DType.F32, 1);
            guarded.run(new CrossEntropyOp(logits, targets, loss, null, 1), pass(3));
            assertThat(loss.toFloats()).containsOnly(Float.NaN);
            for (DType type : TYPES) {
                Tensor dlogits = guarded.outputRows(type, 3, v);
                guarded.run(new CrossEntropyOp(logits, targets, loss, dlogits, 1), pass(3));
                assertThat(loss.toFloats()).containsOnly(Float.NaN);
            }
        });
    }

    @ParameterizedTest
    @CsvSource({"1,1", "2,31", "5,127", "2,1000", "3,5000"})
    void rounding(int rows, int c) {
        eachPlace(() -> {
            float[] x = exact(rows * c);
            both(rows, c, 1, (type, q) -> new QuantizeRowsOp(rows(type, x, rows), null, q));
            Tensor w = f32(rows, c);
            for (Quantization quantization : new Quantization[] {Quantization.BITNET, Quantization.B158}) {
                Tensor[] q = {guarded.output(DType.F32, rows, c), guarded.output(DType.BF16, rows, c)};
                for (Tensor each : q) {
                    guarded.run(new QuantizeWeightsOp(w, quantization, rows, null, each), pass(rows));
                }
                assertClose("weights", q, 1);
            }
        });
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 4, 33, 1000})
    void adamWLeavesTheParametersRounded(int n) {
        eachPlace(() -> {
            Tensor params = f32(n);
            Tensor matmulWeights = guarded.output(DType.BF16, n);
            float[] zeros = new float[n];
            AdamWOp.State state =
                    new AdamWOp.State(params, matmulWeights, f32(n), guarded.of(zeros, n), guarded.of(zeros, n));
            Tensor number = guarded.of(new float[] {0.01f}, 1);
            AdamWSettings settings = new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.1f, 0);
            guarded.run(new AdamWOp(state, number, guarded.ints(1), number, settings), pass(1));
            assertThat(matmulWeights.toFloats()).isEqualTo(rounded(params.toFloats()));
        });
    }

    @Test
    void zeroesAndCopies() {
        eachPlace(() -> {
            float[] x = exact(33);
            Tensor y = guarded.output(DType.BF16, 1, 33);
            guarded.run(new CopyOp(guarded.of(DType.BF16, x, 33), y), pass(1));
            assertThat(y.toFloats()).isEqualTo(x);
            guarded.run(new ZeroOp(y), pass(1));
            assertThat(y.toFloats()).containsOnly(0);
        });
    }

    // ---------------------------------------------------------------------------------------------- helpers

    private static final DType[] TYPES = {DType.F32, DType.BF16};

    private static int index(DType type) {
        return type == DType.F32 ? 0 : 1;
    }

    private static Pass pass(int rows) {
        return Pass.evaluation(1, rows);
    }

    /** With tensors at odd places, and at multiples of 16 bytes. */
    private void eachPlace(Runnable test) {
        for (boolean aligned : new boolean[] {false, true}) {
            guarded = new GuardedTensors(backend(), arena, aligned);
            test.run();
        }
    }

    /** Runs an operation with an output (rows, c) of each type, and answers the one in F32. */
    private float[] both(int rows, int c, int roundings, BiFunction<DType, Tensor, Operation> operation) {
        return both(rows, c, roundings, pass(rows), operation);
    }

    private float[] both(int rows, int c, int roundings, Pass pass, BiFunction<DType, Tensor, Operation> operation) {
        float[][] results = new float[2][];
        for (DType type : TYPES) {
            Tensor out = guarded.outputRows(type, rows, c);
            guarded.run(operation.apply(type, out), pass);
            results[index(type)] = read(out, rows * c);
        }
        assertClose("BF16", results[1], results[0], roundings);
        return results[0];
    }

    /** @param results of F32, of BF16 */
    private static void assertClose(String name, Tensor[] results, int roundings) {
        assertClose(name, results[1].toFloats(), results[0].toFloats(), roundings);
    }

    private static void assertClose(String name, float[] actual, float[] expected, int roundings) {
        double largest = 0;
        for (float value : expected) {
            largest = Math.max(largest, Math.abs(value));
        }
        assertThat(actual).hasSameSizeAs(expected);
        for (int i = 0; i < actual.length; i++) {
            double tolerance =
                    roundings * ROUNDING * (roundings > 1 ? largest : Math.abs(expected[i])) + SUMS * largest;
            assertThat(Math.abs((double) actual[i] - expected[i]))
                    .as("%s[%d]: %s, in F32 %s", name, i, actual[i], expected[i])
                    .isLessThanOrEqualTo(tolerance);
        }
    }

    /** @param tolerance of the largest element */
    private static void assertNear(String name, float[] actual, double[] expected, double tolerance) {
        double largest = Arrays.stream(expected).map(Math::abs).max().orElseThrow();
        assertThat(actual).hasSameSizeAs(expected);
        for (int i = 0; i < actual.length; i++) {
            assertThat((double) actual[i])
                    .as("%s[%d] of %d", name, i, actual.length)
                    .isCloseTo(expected[i], within(tolerance * largest));
        }
    }

    /** Random values that bfloat16 holds exactly. */
    private float[] exact(int n) {
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return rounded(values);
    }

    private float[] rounded(float[] values) {
        Tensor tensor = arena.allocate(DType.BF16, Shape.of(values.length));
        tensor.write(values);
        return tensor.toFloats();
    }

    private Tensor f32(int... dims) {
        return guarded.of(exact(Math.toIntExact(Shape.of(dims).size())), dims);
    }

    private Tensor rows(DType type, float[] values, int rows) {
        return guarded.rows(type, values, rows, values.length / rows);
    }

    private Tensor weights(DType type, float[] values, int out) {
        return guarded.of(type, values, out, values.length / out);
    }

    /** Of F32, for what an operation on F32 writes and for what one on BF16 does. */
    private Tensor[] outputs(int... dims) {
        return new Tensor[] {guarded.output(DType.F32, dims), guarded.output(DType.F32, dims)};
    }

    /** The same of rows. */
    private Tensor[] statistics(int rows, int each) {
        return new Tensor[] {guarded.outputRows(DType.F32, rows, each), guarded.outputRows(DType.F32, rows, each)};
    }
}
