package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.ints;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.Pass;
import java.util.Arrays;

/**
 * Causal self-attention. The weights of one head are computed block by block in scratch memory, and again for the
 * gradient; only the maximum and the inverse denominator of each softmax are kept.
 *
 * <p>From {@link #BLAS_FROM} tokens on, it uses matrix products of OpenBLAS over blocks of rows, each as wide as the
 * causal mask requires; shorter sequences are computed by {@link LayerKernels}.
 */
final class CpuAttention {
    private static final int BLAS_FROM = 24;
    private static final int BLOCK_ROWS = 64;

    private final Blas blas;
    private final LayerKernels kernels;

    CpuAttention(Blas blas, LayerKernels kernels) {
        this.blas = blas;
        this.kernels = kernels;
    }

    void attention(AttentionOp op, Pass pass) {
        op.rows(pass);
        if (pass.length() < BLAS_FROM) {
            kernels.attention(op, pass);
            return;
        }
        for (int b = 0; b < pass.batch(); b++) {
            for (int h = 0; h < op.heads(); h++) {
                forward(op, pass, b, h);
            }
        }
    }

    void attentionGrad(AttentionGradOp op, Pass pass) {
        op.rows(pass);
        if (pass.length() < BLAS_FROM) {
            kernels.attentionGrad(op, pass);
            return;
        }
        for (int b = 0; b < pass.batch(); b++) {
            for (int h = 0; h < op.forward().heads(); h++) {
                backward(op, pass, b, h);
            }
        }
    }

    // ---------------------------------------------------------------- blocks of rows of one head

    /** Head h of sequence b. */
    private void forward(AttentionOp op, Pass pass, int b, int h) {
        int t = pass.length();
        int headSize = op.headSize();
        int width = op.heads() * headSize;
        int stride = 3 * width;
        float[] qkv = floats(op.qkv());
        float[] stats = floats(op.stats());
        int q = start(op.qkv()) + b * t * stride + h * headSize;
        int o = start(op.out()) + b * t * width + h * headSize;
        int so = start(op.stats()) + (b * op.heads() + h) * t * 2;
        float scale = (float) (1 / Math.sqrt(headSize));
        Scratch scratch = Scratch.get();
        float[] p = scratch.floats(0, BLOCK_ROWS * t);
        float[] bits = scratch.floats(1, BLOCK_ROWS * t);
        for (int i0 = 0; i0 < t; i0 += BLOCK_ROWS) {
            int end = Math.min(i0 + BLOCK_ROWS, t); // columns up to the last row of the block
            int m = end - i0;
            float[] mask = mask(op, pass, b, h, i0, m);
            Matrix queries = scratch.matrix(0, qkv, q + i0 * stride, m, headSize, stride);
            Matrix keys = scratch.matrix(1, qkv, q + width, end, headSize, stride);
            blas.gemm(scale, queries, keys.transposed(), 0, scratch.matrix(2, p, 0, m, end, end));
            for (int r = 0; r < m; r++) {
                int i = i0 + r;
                int row = r * end;
                float max = VectorMath.max(p, row, i + 1);
                for (int j = 0; j <= i; j++) {
                    p[row + j] -= max;
                }
                VectorMath.exp(p, row, i + 1, bits);
                float denominator = VectorMath.sum(p, row, i + 1);
                float factor = 1 / denominator;
                stats[so + 2 * i] = max;
                stats[so + 2 * i + 1] = factor;
                if (mask == null) {
                    for (int j = 0; j <= i; j++) {
                        p[row + j] *= factor;
                    }
                } else {
                    for (int j = 0; j <= i; j++) {
                        p[row + j] *= factor * mask[r * t + j];
                    }
                }
                Arrays.fill(p, row + i + 1, row + end, 0f);
            }
            Matrix weights = scratch.matrix(0, p, 0, m, end, end);
            Matrix values = scratch.matrix(1, qkv, q + 2 * width, end, headSize, stride);
            Matrix out = scratch.matrix(2, floats(op.out()), o + i0 * width, m, headSize, width);
            blas.gemm(1, weights, values, 0, out);
        }
    }

    /** The mask of the weights of rows i0 to i0 + m - 1 of a head, or null if nothing is dropped. */
    private static float[] mask(AttentionOp op, Pass pass, int b, int h, int i0, int m) {
        int t = pass.length();
        long head = (pass.firstSequence() + b) * op.heads() + h;
        return Scratch.get().masks().get(op.dropout(), pass, (head * t + i0) * t, m * t);
    }

    /** Head h of sequence b. */
    private void backward(AttentionGradOp op, Pass pass, int b, int h) {
        AttentionOp forward = op.forward();
        int t = pass.length();
        int headSize = forward.headSize();
        int width = forward.heads() * headSize;
        int stride = 3 * width;
        float[] qkv = floats(forward.qkv());
        float[] stats = floats(forward.stats());
        float[] dout = floats(op.dout());
        float[] dqkv = floats(op.dqkv());
        int q = start(forward.qkv()) + b * t * stride + h * headSize;
        int dq = start(op.dqkv()) + b * t * stride + h * headSize;
        int o = start(forward.out()) + b * t * width + h * headSize;
        int go = start(op.dout()) + b * t * width + h * headSize;
        int so = start(forward.stats()) + (b * forward.heads() + h) * t * 2;
        float scale = (float) (1 / Math.sqrt(headSize));
        Scratch scratch = Scratch.get();
        float[] p = scratch.floats(0, BLOCK_ROWS * t);
        float[] bits = scratch.floats(1, BLOCK_ROWS * t);
        float[] ds = scratch.floats(2, BLOCK_ROWS * t);
        // The last block covers all columns, so it overwrites the gradients of k and v, and the others add to them.
        int lastBlock = (t - 1) / BLOCK_ROWS * BLOCK_ROWS;
        for (int i0 = lastBlock; i0 >= 0; i0 -= BLOCK_ROWS) {
            int end = Math.min(i0 + BLOCK_ROWS, t);
            int m = end - i0;
            float[] mask = mask(forward, pass, b, h, i0, m);
            int rows = q + i0 * stride;
            int g = go + i0 * width;
            // p = scale q k^T, ds = dout v^T
            Matrix queries = scratch.matrix(0, qkv, rows, m, headSize, stride);
            Matrix keys = scratch.matrix(1, qkv, q + width, end, headSize, stride);
            blas.gemm(scale, queries, keys.transposed(), 0, scratch.matrix(2, p, 0, m, end, end));
            Matrix douts = scratch.matrix(0, dout, g, m, headSize, width);
            Matrix values = scratch.matrix(1, qkv, q + 2 * width, end, headSize, stride);
            blas.gemm(1, douts, values.transposed(), 0, scratch.matrix(2, ds, 0, m, end, end));
            for (int r = 0; r < m; r++) {
                int i = i0 + r;
                int row = r * end;
                float max = stats[so + 2 * i];
                float factor = stats[so + 2 * i + 1];
                for (int j = 0; j <= i; j++) {
                    p[row + j] -= max;
                }
                VectorMath.exp(p, row, i + 1, bits);
                float inner = VectorMath.dot(dout, go + i * width, floats(forward.out()), o + i * width, headSize);
                for (int j = 0; j <= i; j++) {
                    p[row + j] *= factor;
                }
                if (mask == null) {
                    for (int j = 0; j <= i; j++) {
                        ds[row + j] = p[row + j] * (ds[row + j] - inner) * scale;
                    }
                } else {
                    for (int j = 0; j <= i; j++) {
                        ds[row + j] = p[row + j] * (mask[r * t + j] * ds[row + j] - inner) * scale;
                        p[row + j] *= mask[r * t + j];
                    }
                }
                Arrays.fill(p, row + i + 1, row + end, 0f);
                Arrays.fill(ds, row + i + 1, row + end, 0f);
            }
            float beta = i0 == lastBlock ? 0 : 1;
            // dq = ds k, dk += ds^T q, dv += p^T dout
            Matrix scores = scratch.matrix(0, ds, 0, m, end, end);
            keys = scratch.matrix(1, qkv, q + width, end, headSize, stride);
            blas.gemm(1, scores, keys, 0, scratch.matrix(2, dqkv, dq + i0 * stride, m, headSize, stride));
            queries = scratch.matrix(1, qkv, rows, m, headSize, stride);
            Matrix dkeys = scratch.matrix(2, dqkv, dq + width, end, headSize, stride);
            blas.gemm(1, scores.transposed(), queries, beta, dkeys);
            Matrix weights = scratch.matrix(0, p, 0, m, end, end);
            douts = scratch.matrix(1, dout, g, m, headSize, width);
            Matrix dvalues = scratch.matrix(2, dqkv, dq + 2 * width, end, headSize, stride);
            blas.gemm(1, weights.transposed(), douts, beta, dvalues);
        }
    }

    // ---------------------------------------------------------------- with a cache of keys and values

    static void attentionCached(AttentionCachedOp op, Pass pass) {
        op.rows(pass);
        int t = pass.length();
        int headSize = op.headSize();
        int width = op.heads() * headSize;
        int position = ints(op.position())[start(op.position())];
        float[] qkv = floats(op.qkv());
        float[] cache = floats(op.cache());
        float scale = (float) (1 / Math.sqrt(headSize));
        Scratch scratch = Scratch.get();
        float[] p = scratch.floats(0, position + t);
        float[] bits = scratch.floats(1, position + t);
        for (int b = 0; b < pass.batch(); b++) {
            int rows = start(op.cache()) + b * op.context() * 2 * width;
            for (int i = 0; i < t; i++) {
                int row = start(op.qkv()) + (b * t + i) * 3 * width;
                int out = start(op.out()) + (b * t + i) * width;
                System.arraycopy(qkv, row + width, cache, rows + (position + i) * 2 * width, 2 * width);
                int visible = position + i + 1;
                for (int h = 0; h < op.heads(); h++) {
                    int column = h * headSize;
                    int keys = rows + column;
                    for (int j = 0; j < visible; j++) {
                        p[j] = VectorMath.dot(qkv, row + column, cache, keys + j * 2 * width, headSize) * scale;
                    }
                    float max = VectorMath.max(p, 0, visible);
                    for (int j = 0; j < visible; j++) {
                        p[j] -= max;
                    }
                    VectorMath.exp(p, 0, visible, bits);
                    float factor = 1 / VectorMath.sum(p, 0, visible);
                    for (int j = 0; j < visible; j++) {
                        p[j] *= factor;
                    }
                    Matrix values = scratch.matrix(0, cache, keys + width, visible, headSize, 2 * width);
                    VectorMath.weightedSum(p, values, floats(op.out()), out + column);
                }
            }
        }
    }
}
