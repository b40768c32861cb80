package io.github.drakegpt.backend;

import static io.github.drakegpt.backend.ReferenceOperations.doubles;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;
import java.util.Random;
import java.util.function.Consumer;
import java.util.function.Function;
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
        GuardedTensor.placeAt(GuardedTensor.ODD);
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
                    float[] y = both(
                            rows * out,
                            type -> result -> backend()
                                    .linear(input(type, x), input(type, w), added, relu, result, rows, in, out),
                            added == null ? 1 : 2); // the bias is added to a product that has been rounded
                    GuardedTensor logits = GuardedTensor.output(arena, rows * out);
                    backend()
                            .linear(
                                    input(DType.BF16, x),
                                    input(DType.BF16, w),
                                    added,
                                    relu,
                                    logits.tensor(),
                                    rows,
                                    in,
                                    out);
                    assertClose("float32 from bfloat16", logits.read(), y, 0);
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
            GuardedTensor[] dw = outputs(out * in);
            GuardedTensor[] dbias = outputs(out);
            both(
                    rows * in,
                    type -> dx -> backend()
                            .linearGrad(
                                    input(type, x),
                                    input(type, w),
                                    input(type, dy),
                                    dx,
                                    dw[index(type)].tensor(),
                                    dbias[index(type)].tensor(),
                                    rows,
                                    in,
                                    out),
                    1);
            assertClose("dw", dw[1].read(), dw[0].read(), 0);
            assertClose("dbias", dbias[1].read(), dbias[0].read(), 0);
        });
    }

    /** Logits, their loss and all gradients of a head for many rows, against float64. */
    @ParameterizedTest
    @ValueSource(ints = {65, 64, 1, 7, 100})
    void aHead(int vocabSize) {
        int rows = 1024;
        int in = 16;
        eachPlace(() -> {
            float[] x = exact(rows * in);
            float[] w = exact(vocabSize * in);
            float[] bias = exact(vocabSize);
            int[] targets = random.ints(rows, 0, vocabSize).toArray();
            Tensor xs = input(DType.BF16, x);
            Tensor ws = input(DType.BF16, w);
            GuardedTensor logits = GuardedTensor.output(arena, rows * vocabSize);
            backend().linear(xs, ws, input(DType.F32, bias), false, logits.tensor(), rows, in, vocabSize);
            double[] expected =
                    ReferenceOperations.linear(doubles(x), doubles(w), doubles(bias), false, rows, in, vocabSize);
            assertNear("logits", logits.read(), expected, SUMS);

            Tensor ids = arena.allocate(DType.I32, Shape.of(rows));
            ids.write(targets);
            GuardedTensor loss = GuardedTensor.output(arena, 1);
            GuardedTensor dlogits = GuardedTensor.output(arena, DType.BF16, rows * vocabSize);
            float scale = 1f / rows;
            backend().crossEntropy(logits.tensor(), ids, loss.tensor(), dlogits.tensor(), scale, rows, vocabSize);
            ReferenceOperations.CrossEntropy reference =
                    ReferenceOperations.crossEntropy(expected, targets, scale, rows, vocabSize);
            assertNear("loss", loss.read(), new double[] {reference.loss()}, SUMS);

            GuardedTensor dx = GuardedTensor.output(arena, DType.BF16, rows * in);
            GuardedTensor dw = GuardedTensor.output(arena, vocabSize * in);
            GuardedTensor dbias = GuardedTensor.output(arena, vocabSize);
            Runnable backward = backend()
                    .record(
                            arena,
                            () -> backend()
                                    .linearGrad(
                                            xs,
                                            ws,
                                            dlogits.tensor(),
                                            dx.tensor(),
                                            dw.tensor(),
                                            dbias.tensor(),
                                            rows,
                                            in,
                                            vocabSize));
            for (int run = 0; run < 3; run++) { // launched, recorded on two streams, replayed
                backward.run();
            }
            ReferenceOperations.LinearGrad grads =
                    ReferenceOperations.linearGrad(doubles(x), doubles(w), reference.dlogits(), rows, in, vocabSize);
            // each element of dlogits is rounded, and dx once more
            assertNear("dx", dx.read(), grads.dx(), 2 * ROUNDING);
            assertNear("dw", dw.read(), grads.dw(), ROUNDING);
            assertNear("dbias", dbias.read(), grads.dbias(), ROUNDING);
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
            GuardedTensor grad = GuardedTensor.larger(arena, DType.BF16, dy);
            GuardedTensor[] dbias = outputs(c);
            backend()
                    .reluGrad(
                            input(DType.F32, y), GuardedTensor.larger(arena, dy).tensor(), dbias[0].tensor(), rows, c);
            backend().reluGrad(input(DType.BF16, y), grad.tensor(), dbias[1].tensor(), rows, c);
            assertThat(grad.read()).isEqualTo(expected);
            assertClose("dbias", dbias[1].read(), dbias[0].read(), 0);
        });
    }

    @ParameterizedTest
    @CsvSource({"1,1,1,11", "2,7,31,11", "3,8,33,5", "2,33,80,11", "40,30,64,7"})
    void embedding(int batch, int t, int c, int vocabSize) {
        eachPlace(() -> {
            int[] ids = random.ints(batch * t, 0, vocabSize).toArray();
            Tensor tokens = arena.allocate(DType.I32, Shape.of(ids.length));
            tokens.write(ids);
            Tensor wte = f32(vocabSize * c);
            Tensor wpe = f32((t + 2) * c);
            both(batch * t * c, type -> out -> backend().embedding(tokens, wte, wpe, null, out, batch, t, c), 1);
            float[] dout = exact(batch * t * c);
            GuardedTensor[] dwte = outputs(vocabSize * c);
            GuardedTensor[] dwpe = outputs((t + 2) * c);
            for (DType type : TYPES) {
                Tensor[] tables = {
                    dwte[index(type)].tensor().slice(0, Shape.of(vocabSize * c)),
                    dwpe[index(type)].tensor().slice(0, Shape.of((t + 2) * c))
                };
                backend().embeddingGrad(tokens, input(type, dout), tables[0], tables[1], batch, t, c);
            }
            assertClose("dwte", dwte[1].read(), dwte[0].read(), 0);
            assertClose("dwpe", dwpe[1].read(), dwpe[0].read(), 0);
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
            GuardedTensor[] stats = outputs(2 * rows);
            both(
                    n,
                    type -> out -> backend()
                            .layerNorm(input(type, x), weight, bias, out, stats[index(type)].tensor(), rows, c),
                    1);
            assertClose("stats", stats[1].read(), stats[0].read(), 0);

            GuardedTensor[] dweight = outputs(c);
            GuardedTensor[] dbias = outputs(c);
            GuardedTensor[] dx = new GuardedTensor[2];
            for (DType type : TYPES) {
                int i = index(type);
                dx[i] = GuardedTensor.larger(arena, type, before);
                backend()
                        .layerNormGrad(
                                input(type, x),
                                weight,
                                stats[0].tensor(),
                                input(type, dout),
                                dx[i].tensor(),
                                dweight[i].tensor(),
                                dbias[i].tensor(),
                                rows,
                                c);
            }
            assertClose("dx", dx[1].read(), dx[0].read(), 1);
            assertClose("dweight", dweight[1].read(), dweight[0].read(), 0);
            assertClose("dbias", dbias[1].read(), dbias[0].read(), 0);
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
            GuardedTensor[] stats = outputs(rows);
            both(
                    n,
                    type -> out -> backend().rmsNorm(input(type, x), weight, out, stats[index(type)].tensor(), rows, c),
                    1);
            GuardedTensor[] dweight = outputs(c);
            GuardedTensor[] dx = new GuardedTensor[2];
            for (DType type : TYPES) {
                int i = index(type);
                dx[i] = GuardedTensor.larger(arena, type, before);
                backend()
                        .rmsNormGrad(
                                input(type, x),
                                weight,
                                stats[0].tensor(),
                                input(type, dout),
                                dx[i].tensor(),
                                dweight[i].tensor(),
                                rows,
                                c);
            }
            assertClose("dx", dx[1].read(), dx[0].read(), 1);
            assertClose("dweight", dweight[1].read(), dweight[0].read(), 0);
        });
    }

    @ParameterizedTest
    @CsvSource({"1,1,0", "2,2,1", "3,31,5", "31,33,3", "5,127,9", "3,1000,1001", "2,4096,1"})
    void residual(int rows, int c, long firstRow) {
        eachPlace(() -> {
            int n = rows * c;
            float[] x = exact(n);
            float[] branch = exact(n);
            Tensor bias = f32(c);
            Tensor step = arena.allocate(DType.I32, Shape.of(1));
            for (Dropout dropout :
                    new Dropout[] {null, new Dropout(0.3f, new RandomStream(SEED, RandomStream.dropout(1), step))}) {
                both(
                        n,
                        type -> sum -> backend()
                                .residual(input(type, x), input(type, branch), bias, dropout, firstRow, sum, rows, c),
                        1);
                both(
                        n,
                        type -> dbranch ->
                                backend().residualGrad(input(type, x), dropout, firstRow, dbranch, null, rows, c),
                        1);
            }
        });
    }

    /** Bit by bit: what the next layer reads is the norm of the sum that the residual stream keeps. */
    @ParameterizedTest
    @CsvSource({"1,1", "3,31", "31,80", "2,1000", "2,3001"})
    void residualNormIsTheNormOfTheSumAsItIsKept(int rows, int c) {
        eachPlace(() -> {
            int n = rows * c;
            Tensor x = input(DType.BF16, exact(n));
            Tensor branch = input(DType.BF16, exact(n));
            Tensor weight = f32(c);
            Tensor bias = f32(c);
            GuardedTensor[] sums = {
                GuardedTensor.output(arena, DType.BF16, n), GuardedTensor.output(arena, DType.BF16, n)
            };
            GuardedTensor[] outs = {
                GuardedTensor.output(arena, DType.BF16, n), GuardedTensor.output(arena, DType.BF16, n)
            };
            GuardedTensor[] stats = outputs(2 * rows);
            Tensor added = f32(c);
            backend()
                    .residualNorm(
                            x,
                            branch,
                            added,
                            null,
                            0,
                            sums[0].tensor(),
                            weight,
                            bias,
                            outs[0].tensor(),
                            stats[0].tensor(),
                            rows,
                            c);
            backend().residual(x, branch, added, null, 0, sums[1].tensor(), rows, c);
            backend().layerNorm(sums[1].tensor(), weight, bias, outs[1].tensor(), stats[1].tensor(), rows, c);
            assertThat(sums[0].read()).isEqualTo(sums[1].read());
            assertThat(outs[0].read()).isEqualTo(outs[1].read());
            assertThat(stats[0].read()).isEqualTo(stats[1].read());
        });
    }

    @ParameterizedTest
    @CsvSource({"1,1,false", "31,31,true", "33,80,false", "66,33,true", "3,127,false", "3,5000,false"})
    void softmax(int rows, int c, boolean causal) {
        eachPlace(() -> {
            int n = rows * c;
            float[] x = exact(n);
            float[] y = rounded(both(n, type -> out -> backend().softmax(input(type, x), out, causal, rows, c), 1));
            float[] dy = exact(n);
            both(n, type -> dx -> backend().softmaxGrad(input(type, y), input(type, dy), dx, causal, rows, c), 1);
        });
    }

    @ParameterizedTest
    @CsvSource({"1,1", "3,31", "31,65", "5,80", "3,1000", "2,5000"})
    void crossEntropy(int rows, int v) {
        eachPlace(() -> {
            Tensor logits = f32(rows * v);
            Tensor targets = arena.allocate(DType.I32, Shape.of(rows));
            targets.write(random.ints(rows, 0, v).toArray());
            Tensor loss = arena.allocate(DType.F32, Shape.of(1));
            both(
                    rows * v,
                    type -> dlogits -> backend().crossEntropy(logits, targets, loss, dlogits, 0.01f, rows, v),
                    1);
        });
    }

    @ParameterizedTest
    @CsvSource({"1,1", "2,31", "5,127", "2,1000", "3,5000"})
    void rounding(int rows, int c) {
        eachPlace(() -> {
            int n = rows * c;
            float[] x = exact(n);
            Tensor w = f32(n);
            both(n, type -> q -> backend().quantizeRows(input(type, x), null, q, rows, c), 1);
            for (Quantization quantization : new Quantization[] {Quantization.BITNET, Quantization.B158}) {
                both(n, type -> q -> backend().quantizeWeights(w, quantization, null, q, rows, c), 1);
            }
        });
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 4, 33, 1000})
    void adamWLeavesTheParametersRounded(int n) {
        eachPlace(() -> {
            GuardedTensor params = GuardedTensor.larger(arena, exact(n));
            GuardedTensor factors = GuardedTensor.output(arena, DType.BF16, n);
            Tensor one = arena.allocate(DType.F32, Shape.of(1));
            one.write(0.01f);
            Tensor step = arena.allocate(DType.I32, Shape.of(1));
            step.write(1);
            backend()
                    .adamW(
                            params.tensor().slice(0, Shape.of(n)),
                            factors.tensor(),
                            f32(n),
                            arena.allocate(DType.F32, Shape.of(n)),
                            arena.allocate(DType.F32, Shape.of(n)),
                            one,
                            step,
                            one,
                            new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.1f, 0));
            assertThat(factors.read()).isEqualTo(rounded(params.read()));
        });
    }

    @Test
    void zeroesAndCopies() {
        float[] x = exact(33);
        GuardedTensor y = GuardedTensor.output(arena, DType.BF16, 33);
        backend().copy(input(DType.BF16, x), y.tensor(), 33);
        assertThat(y.read()).isEqualTo(x);
        backend().zero(y.tensor(), 33);
        assertThat(y.read()).containsOnly(0);
    }

    // ---------------------------------------------------------------------------------------------- helpers

    private static final DType[] TYPES = {DType.F32, DType.BF16};

    private static int index(DType type) {
        return type == DType.F32 ? 0 : 1;
    }

    /** With tensors at odd places, and at multiples of 16 bytes. */
    private static void eachPlace(Runnable test) {
        for (int place : new int[] {GuardedTensor.ODD, GuardedTensor.ALIGNED}) {
            GuardedTensor.placeAt(place);
            test.run();
        }
    }

    /** Runs an operation with an output of each type, and answers the one in F32. */
    private float[] both(int n, Function<DType, Consumer<Tensor>> operation, int roundings) {
        float[][] results = new float[2][];
        for (DType type : TYPES) {
            GuardedTensor out = GuardedTensor.output(arena, type, n);
            operation.apply(type).accept(out.tensor());
            results[index(type)] = out.read();
        }
        assertClose("BF16", results[1], results[0], roundings);
        return results[0];
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

    private Tensor f32(int n) {
        return GuardedTensor.of(arena, exact(n)).tensor();
    }

    private Tensor input(DType type, float[] values) {
        return GuardedTensor.larger(arena, type, values).tensor();
    }

    private GuardedTensor[] outputs(int n) {
        return new GuardedTensor[] {GuardedTensor.output(arena, n), GuardedTensor.output(arena, n)};
    }
}
