package io.github.drakegpt.backend.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.PackedOperations;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.QuantizeInt8Op;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.io.IOException;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Products with packed weights on the CPU, in Java and with all the instructions that there are kernels for. */
class CpuPackedOperationsTest {
    @Nested
    class PlainJava extends PackedOperations {
        private final Backend backend = cpu(2, KernelsChoice.java("a test", ""));

        @Override
        protected Backend backend() {
            return backend;
        }
    }

    @Nested
    class Avx2 extends NativeOperations {
        Avx2() {
            super(Instructions.AVX2);
        }
    }

    @Nested
    class Avx512 extends NativeOperations {
        Avx512() {
            super(Instructions.AVX512);
        }
    }

    @Nested
    class Amx extends NativeOperations {
        Amx() {
            super(Instructions.AMX);
        }
    }

    abstract static class NativeOperations extends PackedOperations {
        private final Instructions instructions;
        private Backend backend;

        NativeOperations(Instructions instructions) {
            this.instructions = instructions;
        }

        @BeforeAll
        void open() throws IOException {
            backend = cpu(2, kernels(instructions));
        }

        @Override
        protected Backend backend() {
            return backend;
        }
    }

    private static Backend cpu(int threads, KernelsChoice kernels) {
        return new CpuBackend(threads, Precision.FP32, kernels);
    }

    private static KernelsChoice kernels(Instructions instructions) throws IOException {
        return new KernelsChoice(NativeInstructions.orSkip(instructions), "for a test");
    }

    /** Also where rows are not finite, or scales so small that a negative product becomes -0. */
    @ParameterizedTest
    @EnumSource
    void nativeKernelsGiveTheSameBitsAsJava(Instructions instructions) throws IOException {
        KernelsChoice kernels = kernels(instructions);
        try (Backend java = cpu(1, KernelsChoice.java("a test", ""));
                Backend one = cpu(1, kernels)) {
            for (Quantization quantization : new Quantization[] {Quantization.BITNET, Quantization.B158}) {
                for (int rows = 1; rows <= 30; rows++) {
                    assertThat(results(one, quantization, rows, 40, 300))
                            .as("%s, %d rows", quantization, rows)
                            .isEqualTo(results(java, quantization, rows, 40, 300));
                }
            }
        }
    }

    /** Large enough that the backend hands parts of it out. */
    @Test
    void productsAreTheSameForAnyNumberOfThreads() {
        for (KernelsChoice kernels : new KernelsChoice[] {KernelsChoice.java("a test", ""), KernelsChoice.get()}) {
            try (Backend one = cpu(1, kernels);
                    Backend two = cpu(2, kernels);
                    Backend five = cpu(5, kernels)) {
                for (Quantization quantization : new Quantization[] {Quantization.BITNET, Quantization.B158}) {
                    int[] expected = results(one, quantization, 20, 1000, 600);
                    assertThat(results(two, quantization, 20, 1000, 600)).isEqualTo(expected);
                    assertThat(results(five, quantization, 20, 1000, 600)).isEqualTo(expected);
                }
            }
        }
    }

    @Test
    void nativeCodeStaysWithinItsArrays() throws IOException {
        KernelsChoice kernels = kernels(Instructions.AVX2);
        try (Backend backend = cpu(1, kernels);
                Arena arena = backend.newArena()) {
            PackedWeights w = PackedWeights.allocate(arena, Quantization.B158, 40, 300);
            Tensor fewer = arena.allocate(DType.I8, Shape.of((int) w.codes().size() - 1));
            PackedWeights cut = new PackedWeights(Quantization.B158, 40, 300, fewer, w.scales());
            Tensor y = arena.allocate(DType.F32, Shape.of(1, 40));
            Tensor x = arena.allocate(DType.F32, Shape.of(1, 300));
            Int8Rows q = rows(arena, 1, 384);
            PackedLinearOp linear = new PackedLinearOp(q, w, null, false, y);
            PackedLinearOp ofCut = new PackedLinearOp(q, cut, null, false, y);
            QuantizeInt8Op quantize = new QuantizeInt8Op(x, q);
            Pass negative = Pass.evaluation(-1, 1);
            assertThatThrownBy(() -> backend.packedLinear(ofCut, Pass.evaluation(1, 1)))
                    .isInstanceOf(IndexOutOfBoundsException.class);
            assertThatThrownBy(() -> backend.packedLinear(linear, negative))
                    .isInstanceOf(IndexOutOfBoundsException.class);
            assertThatThrownBy(() -> backend.quantizeInt8(quantize, negative))
                    .isInstanceOf(IndexOutOfBoundsException.class);
        }
    }

    /** Bits of values, scales and sums of random rows, and of their products with and without ReLU. */
    private static int[] results(Backend backend, Quantization quantization, int rows, int out, int in) {
        Random random = new Random(rows);
        try (Arena arena = backend.newArena()) {
            PackedMatrix packed = PackedMatrix.pack(quantization, gaussian(random, out * in), 0, out, in, 1);
            float[] scales = {0.02f, Float.MIN_VALUE};
            PackedWeights w = PackedWeights.allocate(arena, quantization, out, in);
            w.write(new PackedMatrix(quantization, out, in, packed.codes(), scales));
            float[] values = gaussian(random, rows * in);
            values[random.nextInt(values.length)] = Float.NaN;
            values[random.nextInt(values.length)] = Float.NEGATIVE_INFINITY;
            Tensor x = arena.allocate(DType.F32, Shape.of(rows, in));
            x.write(values);
            Tensor bias = arena.allocate(DType.F32, Shape.of(out));
            bias.write(gaussian(random, out));
            Tensor y = arena.allocate(DType.F32, Shape.of(rows, out));
            Int8Rows q = rows(arena, rows, PackedMatrix.paddedColumns(quantization, in));
            Pass pass = Pass.evaluation(1, rows);
            backend.quantizeInt8(new QuantizeInt8Op(x, q), pass);
            int[] bits = concat(q.sums().toInts(), bits(q.scales()));
            byte[] rounded = q.values().toBytes();
            int[] wide = new int[rounded.length];
            Arrays.setAll(wide, i -> rounded[i]);
            bits = concat(bits, wide);
            for (boolean relu : new boolean[] {false, true}) {
                backend.packedLinear(new PackedLinearOp(q, w, bias, relu, y), pass);
                bits = concat(bits, bits(y));
                backend.packedLinear(new PackedLinearOp(q, w, null, relu, y), pass);
                bits = concat(bits, bits(y));
            }
            return bits;
        }
    }

    private static Int8Rows rows(Arena arena, int rows, int stride) {
        return new Int8Rows(
                arena.allocate(DType.I8, Shape.of(rows, stride)),
                arena.allocate(DType.F32, Shape.of(rows)),
                arena.allocate(DType.I32, Shape.of(rows)));
    }

    private static int[] bits(Tensor tensor) {
        float[] values = tensor.toFloats();
        int[] bits = new int[values.length];
        Arrays.setAll(bits, i -> Float.floatToIntBits(values[i]));
        return bits;
    }

    private static int[] concat(int[] a, int[] b) {
        int[] both = Arrays.copyOf(a, a.length + b.length);
        System.arraycopy(b, 0, both, a.length, b.length);
        return both;
    }

    private static float[] gaussian(Random random, int n) {
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }
}
