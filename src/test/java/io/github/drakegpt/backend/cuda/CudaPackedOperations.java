package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.GuardedTensors.read;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import io.github.drakegpt.backend.GuardedTensors;
import io.github.drakegpt.backend.PackedOperations;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.QuantizeInt8Op;
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
    protected void multiply(GuardedTensors guarded, PackedLinearOp op, Pass pass) {
        int n = op.rows(pass) * op.w().out();
        super.multiply(guarded, op, pass);
        float[] first = read(op.y(), n);
        for (PackedPath path : PackedPath.values()) {
            guarded.run(op, pass, () -> backend().packedLinear(path, op, pass));
            assertThat(read(op.y(), n)).as("%s", path).isEqualTo(first);
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
            Int8Rows x = Int8Rows.allocate(arena, Quantization.B158, rows, in);
            Tensor y = arena.allocate(DType.F32, Shape.of(rows, out));
            float[] ones = new float[rows * in];
            Arrays.fill(ones, 1f);
            Tensor inputs = arena.allocate(DType.F32, Shape.of(rows, in));
            inputs.write(ones);
            Pass pass = Pass.evaluation(1, rows);
            backend().quantizeInt8(new QuantizeInt8Op(inputs, x), pass);
            PackedLinearOp op = new PackedLinearOp(x, w, null, false, y);
            Runnable product = backend().record(arena, () -> backend().packedLinear(path, op, pass));
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
    void refusesRowsThatItCannotRead() {
        try (Arena arena = backend().newArena()) {
            PackedWeights w = PackedWeights.allocate(arena, Quantization.B158, 16, 128);
            Tensor one = arena.allocate(DType.F32, Shape.of(1));
            Tensor sum = arena.allocate(DType.I32, Shape.of(1));
            Tensor bytes = arena.allocate(DType.I8, Shape.of(136));
            Int8Rows odd = new Int8Rows(bytes.slice(8, Shape.of(1, 128)), one, sum);
            PackedLinearOp op = new PackedLinearOp(odd, w, null, false, arena.allocate(DType.F32, Shape.of(1, 16)));
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> backend().packedLinear(op, Pass.evaluation(1, 1)))
                    .withMessageContaining("multiple of 16 bytes");
        }
    }
}
