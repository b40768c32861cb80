package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.cuda.Arguments.orNull;
import static io.github.drakegpt.backend.cuda.Arguments.pointer;
import static io.github.drakegpt.backend.cuda.Arguments.pointers;

import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.SoftmaxGradOp;
import io.github.drakegpt.ops.SoftmaxOp;
import jcuda.driver.CUdeviceptr;

/** Softmax, alone and in the loss. */
final class SoftmaxKernels {
    private final Launcher launcher;

    SoftmaxKernels(Launcher launcher) {
        this.launcher = launcher;
    }

    void softmax(SoftmaxOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        Object[] operands = pointers(op.x(), op.y());
        int causal = op.causal() ? 1 : 0;
        launcher.launchRows("softmax", "softmax", FloatType.of(op.x()), rows, c, operands, rows, c, causal);
    }

    void softmaxGrad(SoftmaxGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        Object[] operands = pointers(op.y(), op.dy(), op.dx());
        int causal = op.causal() ? 1 : 0;
        launcher.launchRows("softmax", "softmax_grad", FloatType.of(op.y()), rows, c, operands, rows, c, causal);
    }

    void crossEntropy(CrossEntropyOp op, Pass pass) {
        int rows = op.rows(pass);
        int v = op.vocabSize();
        FloatType type = op.dlogits() == null ? FloatType.F32 : FloatType.of(op.dlogits());
        CUdeviceptr losses = launcher.scratch((long) rows * Float.BYTES);
        Object[] operands = {pointer(op.logits()), pointer(op.targets()), losses, orNull(op.dlogits()), op.gradScale()};
        launcher.launchRows("cross_entropy", "cross_entropy", type, rows, v, operands, rows, v);
        Grid grid = new Grid(1, 1, Launcher.ROW_THREADS, 1);
        launcher.launch("cross_entropy", "total_f32", grid, losses, pointer(op.loss()), rows);
    }
}
