package io.github.drakegpt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.within;

import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Function;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * The operations of a {@link Device}: gradients against central differences of the forward operations, and these against
 * properties that they must have. Each device's test extends this class. How exact the backends are is for their own tests.
 */
abstract class DeviceOperations {
    private static final int ROWS = 3;
    private static final int C = 8;
    private static final float STEP = 1e-2f;

    private final Random random = new Random(7);
    private Device device;
    private Arena arena;

    /** Opens the device to test. */
    abstract Device open();

    @BeforeEach
    void openDevice() {
        device = open();
        arena = device.newArena();
    }

    @AfterEach
    void closeDevice() {
        if (arena != null) { // else it could not be opened
            arena.close();
            device.close();
        }
    }

    private Tensor zeros(int... dims) {
        return arena.allocate(DType.F32, dims);
    }

    private Tensor tensor(int... dims) {
        Tensor tensor = zeros(dims);
        tensor.write(values((int) tensor.size()));
        return tensor;
    }

    private float[] values(int n) {
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    private static double dot(Tensor a, Tensor b) {
        float[] as = a.toFloats();
        float[] bs = b.toFloats();
        double sum = 0;
        for (int i = 0; i < as.length; i++) {
            sum += (double) as[i] * bs[i];
        }
        return sum;
    }

    /** Compares a gradient with central differences of a function of x. */
    private static void assertGradient(Tensor x, Tensor grad, Function<Tensor, Double> function) {
        float[] at = x.toFloats();
        float[] expected = new float[at.length];
        for (int i = 0; i < at.length; i++) {
            float value = at[i];
            at[i] = value + STEP;
            x.write(at);
            double more = function.apply(x);
            at[i] = value - STEP;
            x.write(at);
            expected[i] = (float) ((more - function.apply(x)) / (2 * STEP));
            at[i] = value;
        }
        x.write(at);
        assertThat(grad.toFloats()).usingComparatorWithPrecision(2e-3f).containsExactly(expected);
    }

    // ---------------------------------------------------------------------------------------------- what they compute

    @Test
    void softmax() {
        Tensor x = tensor(ROWS, C);
        Tensor y = zeros(ROWS, C);
        device.softmax(x, y);
        for (int r = 0; r < ROWS; r++) {
            double sum = 0;
            for (float p : y.rows(r, r + 1).toFloats()) {
                assertThat(p).isBetween(0f, 1f);
                sum += p;
            }
            assertThat(sum).isCloseTo(1, within(1e-6));
        }
        Tensor dy = tensor(ROWS, C);
        Tensor dx = tensor(ROWS, C);
        device.softmaxGrad(y, dy, dx);
        assertGradient(x, dx, at -> {
            device.softmax(at, y);
            return dot(y, dy);
        });
        device.softmax(x, y);
        device.softmax(x, x); // in place
        assertThat(x.toFloats()).isEqualTo(y.toFloats());
    }

    @Test
    void rowsOfATensorAreLeftAlone() {
        Tensor x = tensor(ROWS, C);
        float[] before = x.toFloats();
        device.softmax(x.rows(1, 2), x.rows(1, 2));
        float[] after = x.toFloats();
        for (int i = 0; i < before.length; i++) {
            assertThat(after[i] == before[i]).as("element %s", i).isEqualTo(i / C != 1);
        }
    }

    @Test
    void layerNorm() {
        Tensor x = tensor(ROWS, C);
        Tensor weight = tensor(C);
        Tensor bias = tensor(C);
        Tensor out = zeros(ROWS, C);
        Tensor stats = zeros(ROWS, 2);
        Tensor dout = tensor(ROWS, C);
        Tensor dx = tensor(ROWS, C); // overwritten, whatever it holds
        Tensor dweight = tensor(C);
        Tensor dbias = tensor(C);
        device.layerNorm(x, weight, bias, out, stats);
        device.layerNormGrad(x, weight, stats, dout, dx, dweight, dbias);
        Function<Tensor, Double> loss = changed -> {
            device.layerNorm(x, weight, bias, out, stats);
            return dot(out, dout);
        };
        assertGradient(x, dx, loss);
        assertGradient(weight, dweight, loss);
        assertGradient(bias, dbias, loss);
    }

    @Test
    void rmsNorm() {
        Tensor x = tensor(ROWS, C);
        Tensor weight = tensor(C);
        Tensor out = zeros(ROWS, C);
        Tensor stats = zeros(ROWS);
        Tensor dout = tensor(ROWS, C);
        Tensor dx = tensor(ROWS, C);
        Tensor dweight = tensor(C);
        device.rmsNorm(x, weight, out, stats);
        device.rmsNormGrad(x, weight, stats, dout, dx, dweight);
        Function<Tensor, Double> loss = changed -> {
            device.rmsNorm(x, weight, out, stats);
            return dot(out, dout);
        };
        assertGradient(x, dx, loss);
        assertGradient(weight, dweight, loss);
    }

    @Test
    void attention() {
        int batch = 2;
        int length = 3;
        int heads = 2;
        Tensor qkv = tensor(batch, length, 3 * C);
        Tensor out = zeros(batch, length, C);
        Tensor stats = zeros(batch, length, 2 * heads);
        Tensor dout = tensor(batch, length, C);
        Tensor dqkv = tensor(batch, length, 3 * C);
        device.attention(qkv, heads, out, stats);
        // the first token of each sequence sees itself only
        for (int b = 0; b < batch; b++) {
            Tensor first = qkv.rows(b, b + 1).slice(2 * C, Shape.of(C));
            assertThat(out.rows(b, b + 1).slice(0, Shape.of(C)).toFloats())
                    .usingComparatorWithPrecision(1e-5f)
                    .containsExactly(first.toFloats());
        }
        device.attentionGrad(qkv, heads, out, stats, dout, dqkv);
        assertGradient(qkv, dqkv, changed -> {
            device.attention(qkv, heads, out, stats);
            return dot(out, dout);
        });
    }

    @Test
    void crossEntropy() {
        Tensor logits = tensor(ROWS, C);
        Tensor targets = arena.allocate(DType.I32, ROWS);
        targets.write(2, 0, C - 1);
        Tensor loss = zeros(1);
        Tensor dlogits = tensor(ROWS, C);
        device.crossEntropyGrad(logits, targets, loss, dlogits, 1f / ROWS);
        assertGradient(logits, dlogits, changed -> {
            device.crossEntropy(logits, targets, loss);
            return loss.toFloats()[0] / (double) ROWS;
        });
        logits.write(new float[ROWS * C]);
        device.crossEntropy(logits, targets, loss);
        assertThat(loss.toFloats()[0]).isCloseTo((float) (ROWS * Math.log(C)), within(1e-5f));
    }

    @Test
    void linear() {
        int in = 5;
        Tensor x = tensor(ROWS, in);
        Tensor w = tensor(C, in);
        Tensor bias = tensor(C);
        Tensor y = zeros(ROWS, C);
        Tensor dy = tensor(ROWS, C);
        Tensor dx = tensor(ROWS, in);
        Tensor dw = tensor(C, in);
        Tensor dbias = tensor(C);
        device.linearGrad(x, w, dy, dx, dw, dbias);
        Function<Tensor, Double> loss = changed -> {
            device.linear(x, w, bias, y);
            return dot(y, dy);
        };
        assertGradient(x, dx, loss);
        assertGradient(w, dw, loss);
        assertGradient(bias, dbias, loss);
        device.linear(x, w, null, y);
        device.linearGrad(x, w, dy, null, dw, null);
    }

    // ---------------------------------------------------------------------------------------------- what they refuse

    private static void assertRefused(String message, ThrowingCallable call) {
        assertThatIllegalArgumentException().isThrownBy(call).withMessage(message);
    }

    @Test
    void wrongSizesAreRefused() {
        Tensor x = tensor(2, 4);
        Tensor y = tensor(3, 4);
        assertRefused(
                "softmax: y is (3, 4), x is (2, 4); (rows, c) and (rows, c) are wanted.", () -> device.softmax(x, y));
        assertRefused(
                "softmax: y is (4, 2), x is (2, 4); (rows, c) and (rows, c) are wanted.",
                () -> device.softmax(x, tensor(4, 2)));
        assertRefused(
                "layerNorm: weight is (2), x is (2, 4); (c) and (rows, c) are wanted.",
                () -> device.layerNorm(x, tensor(2), tensor(2), tensor(2, 4), tensor(2, 2)));
        assertRefused(
                "layerNorm: stats is (1, 2), x is (2, 4); (rows, 2) and (rows, c) are wanted.",
                () -> device.layerNorm(x, tensor(4), tensor(4), tensor(2, 4), tensor(1, 2)));
        assertRefused(
                "linear: w is (3, 5), x is (2, 4); (out, in) and (rows, in) are wanted.",
                () -> device.linear(x, tensor(3, 5), null, tensor(2, 3)));
        assertRefused(
                "linear: y is (2, 4), w is (3, 4); (rows, out) and (out, in) are wanted.",
                () -> device.linear(x, tensor(3, 4), null, tensor(2, 4)));
        assertRefused(
                "attention: out is (1, 2, 4), and 4 channels are not 3 heads of one size; choose a number of heads that"
                        + " divides them.",
                () -> device.attention(tensor(1, 2, 12), 3, tensor(1, 2, 4), tensor(1, 2, 6)));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> device.attention(tensor(1, 2, 12), 2, tensor(1, 1, 4), tensor(1, 2, 4)))
                .withMessageContaining("attention: out is (1, 1, 4), qkv is (1, 2, 12)");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> device.attention(tensor(12), 2, tensor(4), tensor(4)))
                .withMessage("attention: qkv is (12); it has to be (rows, 3a).");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> device.crossEntropy(x, arena.allocate(DType.I32, 3), tensor(1)))
                .withMessageContaining("crossEntropy: targets is (3), logits is (2, 4)");
    }

    @Test
    void ternaryLinear() {
        int out = 20;
        int in = 130;
        for (TernaryMatrix matrix : List.of(
                TernaryMatrix.quantize(values(out * in), out, in),
                TernaryMatrix.quantizeToOneBit(values(out * in), out, in))) {
            try (TernaryLinear linear = device.load(matrix)) {
                for (int rows : new int[] {1, 5, 2}) {
                    Tensor x = tensor(rows, in);
                    Tensor bias = tensor(out);
                    Tensor y = zeros(rows, out);
                    linear.multiply(x, bias, y);
                    float[] expected = ternaryProducts(matrix, x.toFloats(), bias.toFloats());
                    assertThat(y.toFloats()).usingComparatorWithPrecision(1e-4f).containsExactly(expected);
                    linear.multiply(x, null, y);
                    assertThat(linear.multiply(x.toFloats())).isEqualTo(y.toFloats());
                }
                assertRefused(
                        "x is (2, 128), and the matrix has 130 columns; give rows of as many.",
                        () -> linear.multiply(tensor(2, 128), null, tensor(2, out)));
                assertRefused(
                        "129 values were given for rows of 130; give one or more whole rows.",
                        () -> linear.multiply(new float[129]));
                assertThatIllegalArgumentException()
                        .isThrownBy(() -> linear.multiply(tensor(2, in), null, tensor(3, out)))
                        .withMessageContaining("packedLinear: y is (3, 20)");
            }
        }
    }

    /** Products in float64, of rows rounded to 8 bits as {@link TernaryLinear} says. */
    private static float[] ternaryProducts(TernaryMatrix matrix, float[] x, float[] bias) {
        float[] y = new float[x.length / matrix.in() * matrix.out()];
        for (int i = 0; i < y.length; i++) {
            int from = i / matrix.out() * matrix.in();
            int row = i % matrix.out();
            float most = 0;
            for (int j = 0; j < matrix.in(); j++) {
                most = Math.max(most, Math.abs(x[from + j]));
            }
            double scale = most / 127.0;
            double sum = 0;
            for (int j = 0; j < matrix.in(); j++) {
                sum += Math.rint(x[from + j] / scale) * matrix.value(row, j);
            }
            y[i] = (float) (sum * scale * matrix.scale() + bias[row]);
        }
        return y;
    }

    @Test
    void aClosedLayerSaysSo() {
        TernaryLinear linear = device.load(TernaryMatrix.quantize(values(8), 2, 4));
        linear.close();
        linear.close();
        assertThatIllegalStateException()
                .isThrownBy(() -> linear.multiply(new float[4]))
                .withMessage("This layer is closed; load its matrix again.");
    }

    @Test
    void manyThreadsMultiplyAsOneDoes() throws Exception {
        TernaryMatrix matrix = TernaryMatrix.quantize(values(24 * 200), 24, 200);
        List<float[]> rows = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            rows.add(values((1 + i % 3) * 200));
        }
        ExecutorService threads = Executors.newFixedThreadPool(4);
        try (TernaryLinear linear = device.load(matrix)) {
            List<float[]> alone = rows.stream().map(linear::multiply).toList();
            List<Future<float[]>> together = new ArrayList<>();
            for (float[] x : rows) {
                together.add(threads.submit(() -> linear.multiply(x)));
            }
            for (int i = 0; i < rows.size(); i++) {
                assertThat(together.get(i).get()).isEqualTo(alone.get(i));
            }
        } finally {
            threads.shutdown();
        }
    }

    @Test
    void wrongOperandsAreRefused() {
        Tensor x = tensor(2, 4);
        assertRefused("y is null; give a tensor.", () -> device.softmax(x, null));
        assertRefused(
                "x is (0, 4), which has no elements; give at least one row and one column.",
                () -> device.softmax(zeros(0, 4), zeros(0, 4)));
        assertRefused(
                "x is (2, 0), which has no elements; give at least one row and one column.",
                () -> device.softmax(zeros(2, 0), zeros(2, 0)));
        assertRefused(
                "softmax: x is I32; it has to be F32 or BF16.",
                () -> device.softmax(arena.allocate(DType.I32, 2, 4), x));
        assertRefused(
                "linear: y and x share memory; give them tensors of their own.",
                () -> device.linear(x, tensor(4, 4), null, x));
    }
}
