package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.SoftmaxGradOp;
import io.github.drakegpt.ops.SoftmaxOp;
import java.util.Arrays;

/** The softmax of rows, alone and within the loss. */
final class CpuSoftmax {
    /** Elements of the scratch for cross entropy: several rows at once, so that exp runs over long arrays. */
    private static final int CROSS_ENTROPY_CHUNK = 4096;

    private CpuSoftmax() {}

    static void softmax(SoftmaxOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        float[] xs = floats(op.x());
        float[] ys = floats(op.y());
        Scratch scratch = Scratch.get();
        float[] p = scratch.floats(0, c);
        float[] bits = scratch.floats(1, c);
        for (int r = 0; r < rows; r++) {
            int xo = start(op.x()) + r * c;
            int yo = start(op.y()) + r * c;
            int length = op.causal() ? r % c + 1 : c;
            float max = VectorMath.max(xs, xo, length);
            for (int j = 0; j < length; j++) {
                p[j] = xs[xo + j] - max;
            }
            VectorMath.exp(p, 0, length, bits);
            float inverse = 1 / VectorMath.sum(p, 0, length);
            for (int j = 0; j < length; j++) {
                ys[yo + j] = p[j] * inverse;
            }
            Arrays.fill(ys, yo + length, yo + c, 0f);
        }
    }

    static void softmaxGrad(SoftmaxGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        float[] ys = floats(op.y());
        float[] dys = floats(op.dy());
        float[] dxs = floats(op.dx());
        for (int r = 0; r < rows; r++) {
            int yo = start(op.y()) + r * c;
            int go = start(op.dy()) + r * c;
            int o = start(op.dx()) + r * c;
            int length = op.causal() ? r % c + 1 : c;
            float sum = VectorMath.dot(ys, yo, dys, go, length);
            for (int j = 0; j < length; j++) {
                dxs[o + j] = ys[yo + j] * (dys[go + j] - sum);
            }
            Arrays.fill(dxs, o + length, o + c, 0f);
        }
    }

    static void crossEntropy(CrossEntropyOp op, Pass pass) {
        int rows = op.rows(pass);
        int v = op.vocabSize();
        float[] xs = floats(op.logits());
        Scratch scratch = Scratch.get();
        int chunkRows = Math.max(1, CROSS_ENTROPY_CHUNK / v);
        float[] p = scratch.floats(0, chunkRows * v);
        float[] bits = scratch.floats(1, chunkRows * v);
        double total = 0;
        for (int r0 = 0; r0 < rows; r0 += chunkRows) {
            int m = Math.min(chunkRows, rows - r0);
            for (int r = 0; r < m; r++) {
                int xo = start(op.logits()) + (r0 + r) * v;
                float max = VectorMath.max(xs, xo, v);
                for (int j = 0; j < v; j++) {
                    p[r * v + j] = xs[xo + j] - max;
                }
                total -= p[r * v + CpuTokens.token(op.targets(), r0 + r, v)];
            }
            VectorMath.exp(p, 0, m * v, bits);
            for (int r = 0; r < m; r++) {
                float denominator = VectorMath.sum(p, r * v, v);
                total += Math.log(denominator);
                if (op.dlogits() != null) {
                    float[] ds = floats(op.dlogits());
                    int o = start(op.dlogits()) + (r0 + r) * v;
                    float factor = op.gradScale() / denominator;
                    for (int j = 0; j < v; j++) {
                        ds[o + j] = p[r * v + j] * factor;
                    }
                    ds[o + CpuTokens.token(op.targets(), r0 + r, v)] -= op.gradScale();
                }
            }
        }
        floats(op.loss())[start(op.loss())] = (float) total;
    }
}
