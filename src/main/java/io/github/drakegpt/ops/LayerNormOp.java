package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Layer normalization of each row (Ba, Kiros and Hinton, 2016), as PyTorch's LayerNorm with eps 1e-5: out = norm(x) *
 * weight + bias; optionally of a residual sum that is computed first. A device may do all of that in one pass.
 *
 * @param residual the sum that gives x, or null
 * @param x (rows, C)
 * @param weight (C)
 * @param bias (C)
 * @param out (rows, C)
 * @param stats (rows, 2), F32: mean and 1 / standard deviation, for the gradient
 * @param rounded receives out rounded to 8 bits; out and stats are then undefined, and the residual has neither bias
 *     nor dropout; or null
 */
public record LayerNormOp(
        ResidualOp residual, Tensor x, Tensor weight, Tensor bias, Tensor out, Tensor stats, Int8Rows rounded)
        implements Operation {
    /** Checks the operands. */
    public LayerNormOp {
        if (residual != null && residual.sum() != x) {
            throw new IllegalArgumentException("layerNorm: x is not the residual's sum; give that.");
        }
        if (residual != null && rounded != null && (residual.bias() != null || residual.dropout() != null)) {
            throw new IllegalArgumentException(
                    "layerNorm: a residual with bias or dropout cannot be rounded to 8 bits; add them before.");
        }
        operands(residual, x, weight, bias, out, stats, rounded).check();
    }

    @Override
    public Operands operands() {
        return operands(residual, x, weight, bias, out, stats, rounded);
    }

    private static Operands operands(
            ResidualOp residual, Tensor x, Tensor weight, Tensor bias, Tensor out, Tensor stats, Int8Rows rounded) {
        boolean sums = residual != null;
        return new Operands("layerNorm")
                .read("residual.x", sums ? residual.x() : null, "rows", "c")
                .read("residual.branch", sums ? residual.branch() : null, "rows", "c")
                .readF32("residual.bias", sums ? residual.bias() : null, "c")
                .dropout(sums ? residual.dropout() : null)
                .activation(sums ? Access.WRITE : Access.READ, "x", x, "rows", "c")
                .orOver("residual.x", "residual.branch")
                .readF32("weight", weight, "c")
                .readF32("bias", bias, "c")
                .normed(out, stats, rounded, "rows", "2");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.layerNorm(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, x);
    }

    /** C. */
    public int columns() {
        return x.shape().columns();
    }
}
