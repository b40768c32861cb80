package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Gradients of a {@link LayerNormOp}: that of x is added to dx, which already holds the gradient of the residual path;
 * then, optionally, those of the residual sum that gives x. A device may do both in one pass.
 *
 * @param norm the operation whose gradients these are, without rounding; its x and stats are read
 * @param dout (rows, C)
 * @param dx (rows, C)
 * @param dweight (C), F32
 * @param dbias (C), F32
 * @param residual the gradient of the residual sum, whose dsum is dx; its dbranch may be dout; or null
 */
public record LayerNormGradOp(
        LayerNormOp norm, Tensor dout, Tensor dx, Tensor dweight, Tensor dbias, ResidualGradOp residual)
        implements Operation {
    /** Checks the operands. */
    public LayerNormGradOp {
        if (residual != null && residual.dsum() != dx) {
            throw new IllegalArgumentException("layerNormGrad: dx is not the residual's dsum; give that.");
        }
        operands(norm, dout, dx, dweight, dbias, residual).check();
    }

    @Override
    public Operands operands() {
        return operands(norm, dout, dx, dweight, dbias, residual);
    }

    private static Operands operands(
            LayerNormOp norm, Tensor dout, Tensor dx, Tensor dweight, Tensor dbias, ResidualGradOp residual) {
        boolean sums = residual != null;
        return new Operands("layerNormGrad")
                .read("x", norm.x(), "rows", "c")
                .readF32("weight", norm.weight(), "c")
                .readF32("stats", norm.stats(), "rows", "2")
                .read("dout", dout, "rows", "c")
                .update("dx", dx, "rows", "c")
                .sum("dweight", dweight, "c")
                .sum("dbias", dbias, "c")
                .dropout(sums ? residual.dropout() : null)
                .write("residual.dbranch", sums ? residual.dbranch() : null, "rows", "c")
                .orOver("dout")
                .sum("residual.dbias", sums ? residual.dbias() : null, "c");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.layerNormGrad(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, dx);
    }

    /** C. */
    public int columns() {
        return dx.shape().columns();
    }
}
