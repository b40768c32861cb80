package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Measuring.Bound;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.GradNormOp;
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
import io.github.drakegpt.ops.SumOp;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalDouble;
import java.util.Random;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The native kernels give the bits of the Java ones with all instructions, also where numbers are not finite, and write
 * nowhere else: no tensor begins with its array or ends with it.
 */
class NativeKernelsTest {
    private static final int OFFSET = 3;
    private static final float UNTOUCHED = 12345;
    /** Fewer and more than a vector has, and some left over. */
    private static final int[] COLUMNS = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 64, 65, 100, 128, 384};

    private final Random random = new Random(1);

    /** Tensors with the same content for each backend. */
    private final class Data {
        private final List<Tensor> written = new ArrayList<>();
        private final Random numbers;

        Data(long seed) {
            numbers = new Random(seed);
        }

        Tensor read(int... dims) {
            float[] array = untouched(dims);
            for (int i = OFFSET; i < array.length - OFFSET; i++) {
                array[i] = (float) numbers.nextGaussian();
            }
            return tensor(array, dims);
        }

        /** With NaN and both infinities at a few places. */
        Tensor wild(int... dims) {
            Tensor x = read(dims);
            float[] array = floats(x);
            for (float wild : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, -0f}) {
                array[OFFSET + numbers.nextInt((int) x.size())] = wild;
            }
            return x;
        }

        Tensor scaled(float by, int... dims) {
            Tensor x = read(dims);
            float[] array = floats(x);
            for (int i = OFFSET; i < array.length - OFFSET; i++) {
                array[i] *= by;
            }
            return x;
        }

        Tensor write(int... dims) {
            Tensor x = tensor(untouched(dims), dims);
            written.add(x);
            return x;
        }

        Tensor update(int... dims) {
            Tensor x = read(dims);
            written.add(x);
            return x;
        }

        Tensor wildUpdate(int... dims) {
            Tensor x = wild(dims);
            written.add(x);
            return x;
        }

        private float[] untouched(int... dims) {
            float[] array = new float[2 * OFFSET + (int) Shape.of(dims).size()];
            Arrays.fill(array, UNTOUCHED);
            return array;
        }

        private Tensor tensor(float[] array, int... dims) {
            HeapStorage storage = new HeapStorage(DType.F32, array.length);
            storage.write(0, array, 0, array.length);
            return new Tensor(DType.F32, Shape.of(dims), storage, OFFSET);
        }

        Tensor number(int n) {
            return ints(n);
        }

        Tensor ints(int... values) {
            Tensor x = new Tensor(DType.I32, Shape.of(values.length), new HeapStorage(DType.I32, values.length), 0);
            x.write(values);
            return x;
        }
    }

    /** Runs operations in Java and natively, and compares all that they have written. */
    private void assertSame(Instructions instructions, Pass pass, Function<Data, List<Operation>> operations)
            throws IOException {
        assertSame(instructions, Precision.FP32, pass, operations);
    }

    private void assertSame(
            Instructions instructions, Precision precision, Pass pass, Function<Data, List<Operation>> operations)
            throws IOException {
        NativeInstructions.orSkip(instructions);
        long seed = random.nextLong();
        List<List<Tensor>> results = new ArrayList<>();
        for (KernelsChoice kernels :
                List.of(KernelsChoice.java("a test", ""), new KernelsChoice(instructions, "for a test"))) {
            Data data = new Data(seed);
            try (Backend backend = new CpuBackend(1, precision, kernels)) {
                operations.apply(data).forEach(operation -> operation.run(backend, pass));
            }
            results.add(data.written);
        }
        assertThat(results.get(0)).isNotEmpty();
        for (int i = 0; i < results.get(0).size(); i++) {
            assertThat(floats(results.get(1).get(i)))
                    .as("tensor %d of %s", i, results.get(0).get(i).shape())
                    .isEqualTo(floats(results.get(0).get(i)));
        }
    }

    /** From one row to more than are packed at a time, and the same for both other dimensions. */
    @ParameterizedTest
    @EnumSource
    void linear(Instructions instructions) throws IOException {
        int[][] sizes = {
            {1, 1, 1},
            {1, 7, 3},
            {1, 128, 65},
            {2, 33, 17},
            {3, 4, 5},
            {4, 65, 130},
            {5, 31, 33},
            {6, 8, 16},
            {7, 9, 15},
            {12, 32, 32},
            {13, 40, 63},
            {128, 32, 96},
            {192, 128, 65},
            {241, 257, 34},
            {500, 300, 7}
        };
        for (int[] size : sizes) {
            int rows = size[0];
            int in = size[1];
            int out = size[2];
            for (boolean some : new boolean[] {false, true}) {
                Function<Data, List<Operation>> layer = data -> {
                    Tensor x = data.wild(rows, in);
                    Tensor w = data.read(out, in);
                    Tensor y = data.write(rows, out);
                    Tensor dy = data.wildUpdate(rows, out);
                    return List.of(
                            new LinearOp(x, w, some ? data.read(out) : null, some, y),
                            new ReluGradOp(y, dy, some ? data.write(out) : null),
                            new LinearGradOp(
                                    x,
                                    w,
                                    dy,
                                    some ? data.write(rows, in) : null,
                                    data.write(out, in),
                                    some ? data.write(out) : null));
                };
                assertSame(instructions, Precision.FP32, Pass.evaluation(rows, 1), layer);
                assertSame(instructions, Precision.BF16, Pass.evaluation(rows, 1), layer);
            }
        }
    }

    /** In bfloat16 numbers below 2^-126 count as 0, among factors, products and sums, and large ones become infinite. */
    @ParameterizedTest
    @EnumSource
    void linearOfTinyAndHugeNumbers(Instructions instructions) throws IOException {
        for (int rows : new int[] {1, 9}) {
            for (float size : new float[] {1e-40f, 1e-38f, 3e-20f, 3e38f}) {
                assertSame(instructions, Precision.BF16, Pass.evaluation(rows, 1), data -> {
                    Tensor x = data.scaled(size, rows, 70);
                    Tensor w = data.scaled(size, 33, 70);
                    Tensor bias = data.scaled(size, 33);
                    return List.of(new LinearOp(x, w, bias, false, data.write(rows, 33)));
                });
            }
        }
    }

    /** The order of sums: each pair of lines adds up to 2^24 + 2 in one order and to 2^24 in another. */
    @ParameterizedTest
    @EnumSource
    void bf16SumsGoByBlocksAndPairs(Instructions instructions) throws IOException {
        NativeInstructions.orSkip(instructions);
        float[] x = new float[64];
        float large = 1 << 24;
        x[0] = large;
        x[1] = 1; // odd, so it meets the other 1 before both meet 2^24
        x[3] = 1;
        assertThat(sum(instructions, x)).isEqualTo(large + 2);
        x[3] = 0;
        x[2] = 1; // even, so it is lost in 2^24
        assertThat(sum(instructions, x)).isEqualTo(large);
        x[2] = 0;
        x[33] = 1; // of the next block, so each is lost alone
        assertThat(sum(instructions, x)).isEqualTo(large);
    }

    /** The sum of a row in the order of bfloat16 products: in Java and natively, for one row and for many. */
    private static float sum(Instructions instructions, float[] x) {
        float[] sums = new float[4];
        int i = 0;
        for (KernelsChoice kernels :
                List.of(KernelsChoice.java("a test", ""), new KernelsChoice(instructions, "for a test"))) {
            for (int rows : new int[] {1, 20}) {
                try (Backend backend = new CpuBackend(1, Precision.BF16, kernels)) {
                    Arena arena = backend.newArena();
                    Tensor xs = arena.allocate(DType.F32, Shape.of(rows, x.length));
                    xs.write(x);
                    Tensor ones = arena.allocate(DType.F32, Shape.of(1, x.length));
                    float[] one = new float[x.length];
                    Arrays.fill(one, 1);
                    ones.write(one);
                    Tensor y = arena.allocate(DType.F32, Shape.of(rows, 1));
                    backend.linear(new LinearOp(xs, ones, null, false, y), Pass.evaluation(rows, 1));
                    sums[i++] = y.toFloats()[0];
                }
            }
        }
        assertThat(sums).containsOnly(sums[0]);
        return sums[0];
    }

    @ParameterizedTest
    @EnumSource
    void norms(Instructions instructions) throws IOException {
        int rows = 5;
        for (int c : COLUMNS) {
            for (boolean wild : new boolean[] {false, true}) {
                for (boolean drops : new boolean[] {false, true}) {
                    assertSame(instructions, Pass.training(rows, 1, 2), data -> {
                        Tensor x = wild ? data.wild(rows, c) : data.read(rows, c);
                        Tensor weight = data.read(c);
                        Tensor dout = wild ? data.wild(rows, c) : data.read(rows, c);
                        Dropout dropout = drops ? dropout(data) : null;
                        ResidualOp residual = new ResidualOp(
                                x, data.read(rows, c), drops ? data.read(c) : null, dropout, data.write(rows, c));
                        LayerNormOp norm = new LayerNormOp(
                                null, x, weight, data.read(c), data.write(rows, c), data.write(rows, 2), null);
                        Tensor stats = data.write(rows);
                        return List.of(
                                norm,
                                new LayerNormGradOp(
                                        norm, dout, data.update(rows, c), data.write(c), data.write(c), null),
                                new RmsNormOp(x, weight, data.write(rows, c), stats, null),
                                new RmsNormGradOp(x, weight, stats, dout, data.update(rows, c), data.write(c)),
                                residual,
                                new ResidualGradOp(dout, dropout, data.write(rows, c), drops ? data.write(c) : null));
                    });
                }
            }
        }
    }

    private static Dropout dropout(Data data) {
        return new Dropout(0.3f, new RandomStream(42, 1, data.number(7)));
    }

    static Stream<Arguments> attentionSizes() {
        List<int[]> sizes = List.of(
                new int[] {1, 1, 1, 1}, // batch, t, heads, head size
                new int[] {1, 2, 1, 3},
                new int[] {3, 8, 4, 8},
                new int[] {16, 8, 4, 8},
                new int[] {5, 7, 3, 5},
                new int[] {2, 23, 2, 16},
                new int[] {9, 3, 2, 33},
                new int[] {17, 5, 1, 4},
                new int[] {2, 24, 3, 7},
                new int[] {1, 25, 1, 1},
                new int[] {3, 64, 4, 32},
                new int[] {1, 95, 2, 20},
                new int[] {1, 97, 1, 33},
                new int[] {1, 193, 1, 64},
                new int[] {1, 300, 2, 17});
        return Arrays.stream(Instructions.values())
                .flatMap(instructions -> sizes.stream().map(size -> Arguments.of(instructions, size)));
    }

    /** Later tokens that are not finite must not touch earlier ones, so these are the same bits as well. */
    @ParameterizedTest
    @MethodSource("attentionSizes")
    void attention(Instructions instructions, int[] size) throws IOException {
        int batch = size[0];
        int t = size[1];
        int heads = size[2];
        int headSize = size[3];
        int rows = batch * t;
        int width = heads * headSize;
        for (boolean drops : new boolean[] {false, true}) {
            for (boolean wild : new boolean[] {false, true}) {
                assertSame(instructions, Pass.training(batch, t, 5), data -> {
                    Tensor qkv = wild ? data.wild(rows, 3 * width) : data.read(rows, 3 * width);
                    Tensor dout = wild ? data.wild(rows, width) : data.read(rows, width);
                    Dropout dropout = drops ? dropout(data) : null;
                    AttentionOp op =
                            new AttentionOp(qkv, data.write(rows, width), data.write(rows, 2 * heads), dropout, heads);
                    return List.of(op, new AttentionGradOp(op, dout, data.write(rows, 3 * width)));
                });
            }
        }
    }

    /** With a cache, each token attends as it does without one, to the bit. */
    @ParameterizedTest
    @EnumSource
    void attentionWithACache(Instructions instructions) throws IOException {
        for (int headSize : new int[] {1, 5, 8, 16, 33, 64}) {
            for (int position : new int[] {0, 3, 40}) {
                int t = 4;
                int heads = 3;
                int width = heads * headSize;
                assertSame(
                        instructions,
                        Pass.evaluation(2, t),
                        data -> List.of(new AttentionCachedOp(
                                data.read(2 * t, 3 * width),
                                data.update(2, 50, 2 * width),
                                data.number(position),
                                data.write(2 * t, width),
                                heads)));
            }
        }
        int t = 40;
        int width = 24;
        Data data = new Data(3);
        Tensor qkv = data.read(t, 3 * width);
        Tensor whole = data.write(t, width);
        Tensor cached = data.write(t, width);
        try (Backend backend = new CpuBackend(1, Precision.FP32, new KernelsChoice(instructions, "for a test"))) {
            backend.attention(new AttentionOp(qkv, whole, data.write(t, 4), null, 2), Pass.evaluation(1, t));
            AttentionCachedOp op = new AttentionCachedOp(qkv, data.write(1, t, 2 * width), data.number(0), cached, 2);
            backend.attentionCached(op, Pass.evaluation(1, t));
        }
        assertThat(floats(cached)).isEqualTo(floats(whole));
    }

    @ParameterizedTest
    @EnumSource
    void softmax(Instructions instructions) throws IOException {
        for (int c : COLUMNS) {
            for (boolean causal : new boolean[] {false, true}) {
                int rows = 2 * c;
                assertSame(instructions, Pass.evaluation(rows, 1), data -> {
                    Tensor y = data.write(rows, c);
                    Tensor dy = data.wild(rows, c);
                    Tensor logits = data.wildUpdate(rows, c);
                    Tensor targets =
                            data.ints(IntStream.range(0, rows).map(i -> i % c).toArray());
                    return List.of(
                            new SoftmaxOp(data.wild(rows, c), y, causal),
                            new SoftmaxGradOp(y, dy, data.write(rows, c), causal),
                            new CrossEntropyOp(data.read(rows, c), targets, data.write(1), null, 0.1f),
                            new CrossEntropyOp(logits, targets, data.write(1), logits, 0.1f));
                });
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void rounding(Instructions instructions) throws IOException {
        for (int c : COLUMNS) {
            for (Quantization quantization : new Quantization[] {Quantization.BITNET, Quantization.B158}) {
                assertSame(instructions, Pass.evaluation(3, 1), data -> {
                    Tensor strength = data.read(1);
                    strength.write(new float[] {0.3f});
                    Tensor x = data.wild(3, c);
                    return List.of(
                            new QuantizeWeightsOp(data.read(3, c), quantization, 3, null, data.write(3, c)),
                            new QuantizeWeightsOp(x, quantization, 3, strength, data.write(3, c)),
                            new QuantizeRowsOp(x, null, data.write(3, c)),
                            new QuantizeRowsOp(data.read(3, c), strength, data.write(3, c)));
                });
            }
        }
    }

    /** Up to more than are in a chunk, and more parts than one call adds up. */
    @ParameterizedTest
    @EnumSource
    void flatBuffers(Instructions instructions) throws IOException {
        for (int n : new int[] {1, 7, 16, 100, 4096, 4099, 40_000}) {
            for (boolean add : new boolean[] {false, true}) {
                assertSame(instructions, Pass.evaluation(1, 1), data -> {
                    List<Tensor> parts =
                            IntStream.range(0, 15).mapToObj(i -> data.read(n)).toList();
                    Tensor grads = data.wild(n);
                    Tensor params = data.update(n);
                    AdamWOp.State state = new AdamWOp.State(params, params, grads, data.update(n), data.wildUpdate(n));
                    Tensor rate = data.read(1);
                    rate.write(new float[] {0.01f});
                    Tensor norm = data.read(1);
                    norm.write(new float[] {3});
                    AdamWSettings settings = new AdamWSettings(0.9f, 0.95f, 1e-8f, 0.1f, add ? 1 : 0);
                    return List.of(
                            new SumOp(parts, add, data.update(n)),
                            new SumOp(parts.subList(0, 2), add, data.update(n)),
                            new GradNormOp(data.read(n), data.write(1)),
                            new AdamWOp(state, rate, data.number(5), norm, settings));
                });
            }
        }
    }

    /** What the measured peak counts is done: each number is multiplied and added to as often as it should be. */
    @ParameterizedTest
    @EnumSource
    void peak(Instructions instructions) throws IOException {
        NativeInstructions.orSkip(instructions);
        float[] x = new float[200];
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) random.nextGaussian();
        }
        float[] expected = x.clone();
        for (int i = 0; i < 192; i++) {
            for (int turn = 0; turn < 5; turn++) {
                expected[i] = Math.fma(expected[i], 0.7f, 0.3f);
            }
        }
        assertThat(NativePeak.multiplyAndAdd(instructions, x, 5, 0.7f, 0.3f)).isEqualTo(2 * 192 * 5);
        assertThat(x).isEqualTo(expected);
    }

    @ParameterizedTest
    @EnumSource
    void measuresEachPeak(Instructions instructions) throws IOException {
        NativeInstructions.orSkip(instructions);
        try (Backend backend = new CpuBackend(2, Precision.FP32, new KernelsChoice(instructions, "for a test"))) {
            for (Bound bound : Bound.values()) {
                OptionalDouble peak = backend.measurePeak(bound);
                if (bound == Bound.INT8 && !instructions.packed()) {
                    assertThat(peak).isEmpty();
                } else { // from a slow core to more than any processor has
                    assertThat(peak.orElseThrow()).isBetween(1e8, 1e15);
                }
            }
        }
    }

    /** Native code checks nothing itself. */
    @Test
    void refusesArraysThatAreTooShort() throws IOException {
        NativeCall call = Scratch.get().call(NativeInstructions.orSkip(Instructions.AVX2), NativeCall.Kernel.LINEAR);
        assertThatThrownBy(() -> call.read(row(4), 5)).isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> call.write(row(4), 5)).isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> call.read(row(4), 2, 3)).isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> call.read(row(4), -1)).isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> call.read(new float[4], 5)).isInstanceOf(IndexOutOfBoundsException.class);
        assertThatThrownBy(() -> call.write(new float[4], 2, 3)).isInstanceOf(IndexOutOfBoundsException.class);
    }

    /** A row with nothing behind it. */
    private static Tensor row(int n) {
        return new Tensor(DType.F32, Shape.of(1, n), new HeapStorage(DType.F32, n), 0);
    }
}
