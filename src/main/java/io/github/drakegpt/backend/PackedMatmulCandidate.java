package io.github.drakegpt.backend;

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
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * A candidate with packed weights.
 *
 * @param leastRows minimum rows worth measuring
 * @param mostRows maximum rows worth measuring
 */
public record PackedMatmulCandidate(
        String name, Quantization quantization, Backend backend, int leastRows, int mostRows, Multiply multiply)
        implements MatmulCandidate {
    /** An implementation of {@link Backend#packedLinear}. */
    @FunctionalInterface
    public interface Multiply {
        void run(PackedLinearOp op, Pass pass);
    }

    /** {@link Backend#packedLinear} itself. */
    public PackedMatmulCandidate(Backend backend, Quantization quantization) {
        this(quantization.label(), quantization, backend, 1, Integer.MAX_VALUE, backend::packedLinear);
    }

    @Override
    public Measuring.Bound bound() {
        return Measuring.Bound.INT8;
    }

    @Override
    public long weightBytes(int out, int in) {
        return PackedMatrix.bytes(quantization, out, in);
    }

    @Override
    public boolean supports(int rows, int out, int in) {
        return rows >= leastRows && rows <= mostRows;
    }

    @Override
    public Prepared prepare(Arena arena, int out, int in, int weights) {
        byte[] codes = new byte[Math.toIntExact(weightBytes(out, in))];
        new Random(42).nextBytes(codes);
        if (quantization == Quantization.B158) {
            for (int i = 0; i < codes.length; i++) {
                codes[i] &= (byte) ~((codes[i] & codes[i] >> 1 & 0x55) << 1); // 3 is not a code, and becomes 1
            }
        }
        PackedMatrix matrix = new PackedMatrix(quantization, out, in, codes, new float[] {0.1f});
        List<PackedWeights> prepared = new ArrayList<>();
        for (int i = 0; i < weights; i++) {
            PackedWeights w = PackedWeights.allocate(arena, quantization, out, in);
            w.write(matrix);
            prepared.add(w);
        }
        return (ofRows, rows) -> products(ofRows, prepared, rows, in);
    }

    private List<Runnable> products(Arena arena, List<PackedWeights> weights, int rows, int in) {
        Int8Rows x = Int8Rows.allocate(arena, quantization, rows, in);
        Tensor values = arena.allocate(DType.F32, Shape.of(rows, in));
        values.write(MatmulCandidate.random(rows * in));
        Pass pass = Pass.evaluation(1, rows);
        backend.quantizeInt8(new QuantizeInt8Op(values, x), pass);
        Tensor y = arena.allocate(DType.F32, Shape.of(rows, weights.get(0).out()));
        List<Runnable> products = new ArrayList<>();
        for (PackedWeights w : weights) {
            PackedLinearOp op = new PackedLinearOp(x, w, null, false, y);
            products.add(() -> multiply.run(op, pass));
        }
        return products;
    }
}
