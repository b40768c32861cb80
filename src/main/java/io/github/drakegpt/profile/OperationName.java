package io.github.drakegpt.profile;

import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.Operation;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.RmsNormOp;

/** Names of operations in measurements. */
final class OperationName {
    private OperationName() {}

    /** The name of its method in {@link Operations}; norms that do more in the same pass have another one. */
    static String of(Operation operation) {
        if (operation instanceof LayerNormOp norm) {
            return norm("layerNorm", norm.residual() != null, norm.rounded());
        }
        if (operation instanceof LayerNormGradOp grad) {
            return grad.residual() == null ? "layerNormGrad" : "residualNormGrad";
        }
        if (operation instanceof RmsNormOp norm) {
            return norm("rmsNorm", false, norm.rounded());
        }
        return operation.operands().operation();
    }

    private static String norm(String alone, boolean ofResidual, Int8Rows rounded) {
        return (ofResidual ? "residualNorm" : alone) + (rounded == null ? "" : "Int8");
    }
}
