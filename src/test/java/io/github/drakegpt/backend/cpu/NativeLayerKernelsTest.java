package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** The native kernels give the bits of the Java ones, also where numbers are not finite, and write nowhere else. */
class NativeLayerKernelsTest {
    private static final int OFFSET = 3; // no array begins with its tensor
    private static final float UNTOUCHED = 12345;

    private final LayerKernels java = new JavaLayerKernels();
    private final Random random = new Random(1);

    /** Fewer and more channels than a vector has, and some left over. */
    @ParameterizedTest
    @EnumSource
    void layerNorm(Instructions instructions) throws IOException {
        LayerKernels kernels = new NativeLayerKernels(NativeInstructions.orSkip(instructions));
        for (int c : new int[] {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100, 128, 384}) {
            int rows = 5;
            float[] x = numbers(rows * c);
            float[] dout = numbers(rows * c);
            float[] dx = numbers(rows * c);
            x[OFFSET + c / 2] = Float.NaN;
            x[OFFSET + c + c / 3] = Float.POSITIVE_INFINITY;
            dout[OFFSET + 2 * c] = Float.NEGATIVE_INFINITY;
            Tensor xs = tensor(x, rows, c);
            Tensor douts = tensor(dout, rows, c);
            Tensor weight = tensor(numbers(c), c);
            Tensor bias = tensor(numbers(c), c);
            List<List<float[]>> results = new ArrayList<>();
            for (LayerKernels each : List.of(java, kernels)) {
                Tensor out = tensor(untouched(rows * c), rows, c);
                Tensor stats = tensor(untouched(2 * rows), rows, 2);
                Tensor dxs = tensor(dx, rows, c);
                float[] products = new float[rows * c];
                LayerNormOp norm = new LayerNormOp(null, xs, weight, bias, out, stats, null);
                Tensor dweight = tensor(untouched(c), c); // of no interest here, as dbias
                Tensor dbias = tensor(untouched(c), c);
                each.layerNorm(norm, rows);
                each.layerNormGrad(new LayerNormGradOp(norm, douts, dxs, dweight, dbias, null), products, rows);
                results.add(List.of(floats(out), floats(stats), floats(dxs), products));
            }
            assertSame(results, "c = " + c);
        }
    }

    static Stream<Arguments> attentionSizes() {
        return Arrays.stream(Instructions.values())
                .flatMap(instructions -> Stream.of(
                                new int[] {1, 1, 1, 1}, // batch, t, heads, head size
                                new int[] {1, 2, 1, 3},
                                new int[] {3, 8, 4, 8},
                                new int[] {16, 8, 4, 8},
                                new int[] {5, 7, 3, 5},
                                new int[] {2, 23, 2, 16},
                                new int[] {9, 3, 2, 33},
                                new int[] {17, 5, 1, 4})
                        .map(size -> Arguments.of(instructions, size)));
    }

    @ParameterizedTest
    @MethodSource("attentionSizes")
    void attention(Instructions instructions, int[] size) throws IOException {
        LayerKernels kernels = new NativeLayerKernels(NativeInstructions.orSkip(instructions));
        int batch = size[0];
        int t = size[1];
        int heads = size[2];
        int headSize = size[3];
        int rows = batch * t;
        int width = heads * headSize;
        int n = rows * width;
        Pass pass = Pass.training(batch, t, 5);
        Tensor step = new Tensor(DType.I32, Shape.of(1), new HeapStorage(DType.I32, 1), 0);
        step.write(7);
        for (Dropout dropout : new Dropout[] {null, new Dropout(0.3f, new RandomStream(42, 1, step))}) {
            float[] qkv = numbers(3 * n);
            float[] dout = numbers(n);
            for (boolean finite : new boolean[] {true, false}) {
                if (!finite) {
                    qkv[OFFSET + n] = Float.NaN;
                    qkv[OFFSET + 2 * n] = Float.NEGATIVE_INFINITY;
                    qkv[OFFSET + 3 * n - 1] = 1e30f;
                }
                List<List<float[]>> results = new ArrayList<>();
                for (LayerKernels each : List.of(java, kernels)) {
                    Tensor out = tensor(untouched(n), rows, width);
                    Tensor stats = tensor(untouched(2 * rows * heads), rows, 2 * heads);
                    Tensor dqkv = tensor(untouched(3 * n), rows, 3 * width);
                    AttentionOp op = new AttentionOp(tensor(qkv, rows, 3 * width), out, stats, dropout, heads);
                    each.attention(op, pass);
                    each.attentionGrad(new AttentionGradOp(op, tensor(dout, rows, width), dqkv), pass);
                    results.add(List.of(floats(out), floats(stats), floats(dqkv)));
                }
                assertSame(results, "dropout " + dropout + ", finite " + finite);
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void refusesArraysThatAreTooShort(Instructions instructions) throws IOException {
        LayerKernels kernels = new NativeLayerKernels(NativeInstructions.orSkip(instructions));
        AttentionOp attention = new AttentionOp(row(3 * 8), row(8), row(2 * 2), null, 2);
        AttentionGradOp attentionGrad = new AttentionGradOp(attention, row(8), row(3 * 8));
        LayerNormOp norm = new LayerNormOp(null, row(4), row(4), row(4), row(4), row(2), null);
        LayerNormGradOp normGrad = new LayerNormGradOp(norm, row(4), row(4), row(4), row(4), null);
        Pass tooLong = Pass.training(1, 2, 0);
        assertThatThrownBy(() -> kernels.attention(attention, tooLong)).isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> kernels.attentionGrad(attentionGrad, tooLong))
                .isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> kernels.layerNorm(norm, 2)).isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> kernels.layerNormGrad(normGrad, new float[8], 2))
                .isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> kernels.layerNormGrad(normGrad, new float[3], 1))
                .isInstanceOf(IndexOutOfBoundsException.class);
    }

    /** A row with nothing behind it. */
    private static Tensor row(int n) {
        return new Tensor(DType.F32, Shape.of(1, n), new HeapStorage(DType.F32, n), 0);
    }

    private static void assertSame(List<List<float[]>> results, String what) {
        for (int i = 0; i < results.get(0).size(); i++) {
            assertThat(results.get(1).get(i))
                    .as("%s, array %d", what, i)
                    .isEqualTo(results.get(0).get(i));
        }
    }

    private float[] numbers(int n) {
        float[] numbers = untouched(n);
        for (int i = 0; i < n; i++) {
            numbers[OFFSET + i] = (float) random.nextGaussian();
        }
        return numbers;
    }

    private static float[] untouched(int n) {
        float[] array = new float[OFFSET + n + 2];
        Arrays.fill(array, UNTOUCHED);
        return array;
    }

    private static Tensor tensor(float[] array, int... dims) {
        HeapStorage storage = new HeapStorage(DType.F32, array.length);
        storage.write(0, array, 0, array.length);
        return new Tensor(DType.F32, Shape.of(dims), storage, OFFSET);
    }
}
