package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.cuda.Arguments.active;
import static io.github.drakegpt.backend.cuda.Arguments.mask;
import static io.github.drakegpt.backend.cuda.Arguments.orNull;
import static io.github.drakegpt.backend.cuda.Arguments.pointer;

import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.ResidualGradOp;
import io.github.drakegpt.ops.ResidualOp;

/** Residual sums that are launched without a norm. */
final class ResidualKernels {
    private final Launcher launcher;

    ResidualKernels(Launcher launcher) {
        this.launcher = launcher;
    }

    void residual(ResidualOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        Math.multiplyExact(rows, c); // the kernel counts elements in 32 bits
        FloatType type = FloatType.of(op.x());
        launcher.launch(
                "residual",
                "residual" + type.suffix(),
                Grid.of((long) rows * Grid.blocks(c, type.pack()), 1),
                new Object[] {pointer(op.x()), pointer(op.branch()), orNull(op.bias()), pointer(op.sum())},
                new Object[] {rows, c},
                mask(pass.firstRow(), active(op.dropout(), pass)));
    }

    void residualGrad(ResidualGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        FloatType type = FloatType.of(op.dsum());
        String kernel = "residual_grad" + type.suffix();
        Object[] grads = Arguments.pointers(op.dsum(), op.dbranch());
        Object[] mask = mask(pass.firstRow(), active(op.dropout(), pass));
        launcher.addRows(
                type,
                orNull(op.dbias()),
                rows,
                c,
                (grid, first, each) -> launcher.launch("residual", kernel, grid, grads, first, rows, c, each, mask));
    }
}
