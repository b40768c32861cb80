package io.github.drakegpt.ops;

import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.tensor.Tensor;

/**
 * A linear layer with packed weights: y = x w^T + bias, optionally followed by ReLU, with exact integer sums: for row m
 * of x and row n of w, y = (sum over k of x[m, k] * w[n, k]) * (w.scales[n] * x.scales[m]) + bias[n].
 *
 * @param bias (out), or null
 * @param y (rows, out), F32
 */
public record PackedLinearOp(Int8Rows x, PackedWeights w, Tensor bias, boolean relu, Tensor y) implements Operation {
    /** Checks the operands. */
    public PackedLinearOp {
        operands(x, w, bias, relu, y).check();
        x.requireStride("packedLinear", PackedMatrix.paddedColumns(w.quantization(), w.in()));
    }

    @Override
    public Operands operands() {
        return operands(x, w, bias, relu, y);
    }

    private static Operands operands(Int8Rows x, PackedWeights w, Tensor bias, boolean relu, Tensor y) {
        return new Operands("packedLinear")
                .int8(Access.READ, "x", x)
                .packed("w", w)
                .readF32("bias", bias, "out")
                .writeF32("y", y, "rows", "out");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.packedLinear(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, y);
    }
}
