package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.SoftmaxGradOp;
import io.github.drakegpt.ops.SoftmaxOp;
import java.util.Arrays;

/**
 * The softmax of rows, alone and within the loss: the definition of its bits, and what machines without native code
 * compute.
 */
class JavaSoftmax {
    void softmax(SoftmaxOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        float[] xs = floats(op.x());
        float[] ys = floats(op.y());
        for (int r = 0; r < rows; r++) {
            int yo = start(op.y()) + r * c;
            int n = op.causal() ? r % c + 1 : c;
            System.arraycopy(xs, start(op.x()) + r * c, ys, yo, n);
            float inverse = 1 / exponentials(ys, yo, n, VectorMath.max(ys, yo, n));
            for (int j = 0; j < n; j++) {
                ys[yo + j] *= inverse;
            }
            Arrays.fill(ys, yo + n, yo + c, 0f);
        }
    }

    void softmaxGrad(SoftmaxGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        float[] ys = floats(op.y());
        float[] dys = floats(op.dy());
        float[] dxs = floats(op.dx());
        for (int r = 0; r < rows; r++) {
            int yo = start(op.y()) + r * c;
            int go = start(op.dy()) + r * c;
            int o = start(op.dx()) + r * c;
            int n = op.causal() ? r % c + 1 : c;
            float sum = VectorMath.dot(ys, yo, dys, go, n);
            for (int j = 0; j < n; j++) {
                dxs[o + j] = ys[yo + j] * (dys[go + j] - sum);
            }
            Arrays.fill(dxs, o + n, o + c, 0f);
        }
    }

    final void crossEntropy(CrossEntropyOp op, Pass pass) {
        int rows = op.rows(pass);
        int v = op.vocabSize();
        Scratch scratch = Scratch.get();
        float[] targets = scratch.floats(0, rows); // logits of the targets; dlogits may overwrite them
        float[] stats = scratch.floats(1, 2 * rows);
        for (int r = 0; r < rows; r++) {
            int token = CpuTokens.token(op.targets(), r, v);
            targets[r] = floats(op.logits())[start(op.logits()) + r * v + token];
        }
        crossEntropy(op, stats, rows);
        double total = 0;
        for (int r = 0; r < rows; r++) {
            // StrictMath: the same on every machine
            total += StrictMath.log(stats[2 * r + 1]) - ((double) targets[r] - stats[2 * r]);
            if (op.dlogits() != null) {
                int token = CpuTokens.token(op.targets(), r, v);
                floats(op.dlogits())[start(op.dlogits()) + r * v + token] -= op.gradScale();
            }
        }
        floats(op.loss())[start(op.loss())] = (float) total;
    }

    /** Of each row: the maximum and the denominator of its softmax, and in dlogits, if wanted, softmax * gradScale. */
    void crossEntropy(CrossEntropyOp op, float[] stats, int rows) {
        int v = op.vocabSize();
        float[] memory = Scratch.get().floats(2, v);
        for (int r = 0; r < rows; r++) {
            float[] e = op.dlogits() == null ? memory : floats(op.dlogits());
            int o = op.dlogits() == null ? 0 : start(op.dlogits()) + r * v;
            System.arraycopy(floats(op.logits()), start(op.logits()) + r * v, e, o, v);
            float max = VectorMath.max(e, o, v);
            float denominator = exponentials(e, o, v, max);
            stats[2 * r] = max;
            stats[2 * r + 1] = denominator;
            float factor = op.gradScale() / denominator;
            for (int j = o; j < o + v; j++) {
                e[j] *= factor;
            }
        }
    }

    /** x = e^(x - max), in place; returns the sum. */
    private static float exponentials(float[] x, int o, int n, float max) {
        for (int j = o; j < o + n; j++) {
            x[j] -= max;
        }
        VectorMath.exp(x, o, n, Scratch.get().floats(3, o + n));
        return VectorMath.sum(x, o, n);
    }
}
