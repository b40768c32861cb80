package io.github.drakegpt.backend.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import io.github.drakegpt.backend.PackedOperations;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Products with packed weights in each of the ways there are, which must give the same bits. */
abstract class CudaPackedOperations extends PackedOperations {
    @Override
    protected abstract CudaBackend backend();

    @Override
    protected void multiply(Int8Rows x, PackedWeights w, Tensor bias, boolean relu, Tensor y, int rows) {
        float[] nothing = new float[rows * w.out()];
        Arrays.fill(nothing, Float.NaN);
        Tensor outputs = y.slice(0, Shape.of(nothing.length));
        super.multiply(x, w, bias, relu, y, rows);
        float[] first = outputs.toFloats();
        for (PackedPath path : PackedPath.values()) {
            outputs.write(nothing);
            backend().packedLinear(path, x, w, bias, relu, y, rows);
            assertThat(outputs.toFloats()).as("%s", path).isEqualTo(first);
        }
    }

    /** What is recorded reads the weights that are there when it is replayed. */
    @ParameterizedTest
    @EnumSource
    void recordedProductsOfWeightsThatChange(PackedPath path) {
        int rows = 3;
        int in = 200;
        int out = 20;
        try (Arena arena = backend().newArena()) {
            PackedWeights w = PackedWeights.allocate(arena, Quantization.B158, out, in);
            Int8Rows x = new Int8Rows(
                    arena.allocate(DType.I8, Shape.of(rows, PackedMatrix.paddedColumns(Quantization.B158, in))),
                    arena.allocate(DType.F32, Shape.of(rows)),
                    arena.allocate(DType.I32, Shape.of(rows)));
            Tensor y = arena.allocate(DType.F32, Shape.of(rows, out));
            float[] ones = new float[rows * in];
            Arrays.fill(ones, 1f);
            Tensor inputs = arena.allocate(DType.F32, Shape.of(rows, in));
            inputs.write(ones);
            backend().quantizeInt8(inputs, x, rows, in);
            Runnable product = backend().record(arena, () -> backend().packedLinear(path, x, w, null, false, y, rows));
            for (float weight : new float[] {0.5f, -0.5f, 2}) {
                float[] weights = new float[out * in];
                Arrays.fill(weights, weight);
                w.write(PackedMatrix.pack(Quantization.B158, weights, 0, out, in, 1));
                product.run();
                for (float value : y.toFloats()) {
                    assertThat(value).isCloseTo(in * weight, within(1e-3f));
                }
            }
        }
    }

    @Test
    void refusesTensorsThatItCannotRead() {
        try (Arena arena = backend().newArena()) {
            PackedWeights w = PackedWeights.allocate(arena, Quantization.B158, 16, 128);
            Tensor y = arena.allocate(DType.F32, Shape.of(16));
            Tensor one = arena.allocate(DType.F32, Shape.of(1));
            Tensor sum = arena.allocate(DType.I32, Shape.of(1));
            Tensor bytes = arena.allocate(DType.I8, Shape.of(264));
            Int8Rows odd = new Int8Rows(bytes.slice(8, Shape.of(1, 128)), one, sum);
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> backend().packedLinear(odd, w, null, false, y, 1))
                    .withMessageContaining("multiple of 16 bytes");
            Int8Rows longer = new Int8Rows(bytes.slice(0, Shape.of(1, 256)), one, sum);
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> backend().packedLinear(longer, w, null, false, y, 1))
                    .withMessageContaining("Rows of 256 elements");
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> backend().quantizeInt8(arena.allocate(DType.F32, Shape.of(300)), longer, 1, 300))
                    .withMessageContaining("Rows of 256 elements");
        }
    }
}
