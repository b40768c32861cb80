package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.ops.Dropout;

/**
 * Causal self-attention on arrays: q, k and v lie side by side in the rows of qkv, heads side by side within each. The
 * weights of one head are worked out block by block in scratch memory and again for the gradient; only the
 * maximum and the inverse denominator of each softmax are kept.
 *
 * <p>From {@link #BLAS_FROM} tokens on it is matrix products of OpenBLAS over blocks of rows, each as wide as the causal
 * mask lets it be; shorter sequences are left to {@link LayerKernels}.
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

    void forward(
            float[] qkv,
            int qo,
            float[] out,
            int oo,
            float[] stats,
            int so,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize) {
        int width = heads * headSize;
        if (t < BLAS_FROM) {
            kernels.attention(qkv, qo, out, oo, stats, so, dropout, firstSequence, batch, t, heads, headSize);
            return;
        }
        for (int b = 0; b < batch; b++) {
            int q = qo + b * t * 3 * width;
            int o = oo + b * t * width;
            int s = so + b * heads * t * 2;
            for (int h = 0; h < heads; h++) {
                forwardBlocks(
                        qkv,
                        q,
                        out,
                        o,
                        stats,
                        s + 2 * h * t,
                        dropout,
                        (firstSequence + b) * heads + h,
                        h,
                        t,
                        width,
                        headSize);
            }
        }
    }

    void backward(
            float[] qkv,
            int qo,
            float[] out,
            int oo,
            float[] stats,
            int so,
            float[] dout,
            int go,
            float[] dqkv,
            int dqo,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize) {
        int width = heads * headSize;
        if (t < BLAS_FROM) {
            kernels.attentionGrad(
                    qkv,
                    qo,
                    out,
                    oo,
                    stats,
                    so,
                    dout,
                    go,
                    dqkv,
                    dqo,
                    dropout,
                    firstSequence,
                    batch,
                    t,
                    heads,
                    headSize);
            return;
        }
        for (int b = 0; b < batch; b++) {
            int q = qo + b * t * 3 * width;
            int dq = dqo + b * t * 3 * width;
            int o = oo + b * t * width;
            int g = go + b * t * width;
            int s = so + b * heads * t * 2;
            for (int h = 0; h < heads; h++) {
                backwardBlocks(
                        qkv,
                        q,
                        out,
                        o,
                        stats,
                        s + 2 * h * t,
                        dout,
                        g,
                        dqkv,
                        dq,
                        dropout,
                        (firstSequence + b) * heads + h,
                        h,
                        t,
                        width,
                        headSize);
            }
        }
    }

    /** The mask of a stretch of weights, or null if nothing is dropped. */
    private static float[] mask(Dropout dropout, long first, int n) {
        if (dropout == null) {
            return null;
        }
        return Scratch.get().masks().get(dropout, first, n);
    }

    // ---------------------------------------------------------------- blocks of rows of one head

    private void forwardBlocks(
            float[] qkv,
            int qo,
            float[] out,
            int oo,
            float[] stats,
            int so,
            Dropout dropout,
            long sequenceHead,
            int head,
            int t,
            int width,
            int headSize) {
        int stride = 3 * width;
        int q = qo + head * headSize;
        float scale = (float) (1 / Math.sqrt(headSize));
        Scratch scratch = Scratch.get();
        float[] p = scratch.floats(0, BLOCK_ROWS * t);
        float[] bits = scratch.floats(1, BLOCK_ROWS * t);
        for (int i0 = 0; i0 < t; i0 += BLOCK_ROWS) {
            int end = Math.min(i0 + BLOCK_ROWS, t); // the columns that the last row of the block sees
            int m = end - i0;
            float[] mask = mask(dropout, (sequenceHead * t + i0) * t, m * t);
            blas.gemm(
                    false,
                    true,
                    m,
                    end,
                    headSize,
                    scale,
                    qkv,
                    q + i0 * stride,
                    stride,
                    qkv,
                    q + width,
                    stride,
                    0,
                    p,
                    0,
                    end);
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
                java.util.Arrays.fill(p, row + i + 1, row + end, 0f);
            }
            blas.gemm(
                    false,
                    false,
                    m,
                    headSize,
                    end,
                    1,
                    p,
                    0,
                    end,
                    qkv,
                    q + 2 * width,
                    stride,
                    0,
                    out,
                    oo + i0 * width + head * headSize,
                    width);
        }
    }

    private void backwardBlocks(
            float[] qkv,
            int qo,
            float[] out,
            int oo,
            float[] stats,
            int so,
            float[] dout,
            int go,
            float[] dqkv,
            int dqo,
            Dropout dropout,
            long sequenceHead,
            int head,
            int t,
            int width,
            int headSize) {
        int stride = 3 * width;
        int q = qo + head * headSize;
        int dq = dqo + head * headSize;
        int column = head * headSize;
        float scale = (float) (1 / Math.sqrt(headSize));
        Scratch scratch = Scratch.get();
        float[] p = scratch.floats(0, BLOCK_ROWS * t);
        float[] bits = scratch.floats(1, BLOCK_ROWS * t);
        float[] ds = scratch.floats(2, BLOCK_ROWS * t);
        // The last block sees all columns, so that it overwrites the gradients of k and v and the others add to them.
        int lastBlock = (t - 1) / BLOCK_ROWS * BLOCK_ROWS;
        for (int i0 = lastBlock; i0 >= 0; i0 -= BLOCK_ROWS) {
            int end = Math.min(i0 + BLOCK_ROWS, t);
            int m = end - i0;
            float[] mask = mask(dropout, (sequenceHead * t + i0) * t, m * t);
            int rows = q + i0 * stride;
            int g = go + i0 * width + column;
            blas.gemm(false, true, m, end, headSize, scale, qkv, rows, stride, qkv, q + width, stride, 0, p, 0, end);
            blas.gemm(false, true, m, end, headSize, 1, dout, g, width, qkv, q + 2 * width, stride, 0, ds, 0, end);
            for (int r = 0; r < m; r++) {
                int i = i0 + r;
                int row = r * end;
                float max = stats[so + 2 * i];
                float factor = stats[so + 2 * i + 1];
                for (int j = 0; j <= i; j++) {
                    p[row + j] -= max;
                }
                VectorMath.exp(p, row, i + 1, bits);
                float inner = VectorMath.dot(dout, go + i * width + column, out, oo + i * width + column, headSize);
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
                java.util.Arrays.fill(p, row + i + 1, row + end, 0f);
                java.util.Arrays.fill(ds, row + i + 1, row + end, 0f);
            }
            float beta = i0 == lastBlock ? 0 : 1;
            blas.gemm(
                    false,
                    false,
                    m,
                    headSize,
                    end,
                    1,
                    ds,
                    0,
                    end,
                    qkv,
                    q + width,
                    stride,
                    0,
                    dqkv,
                    dq + i0 * stride,
                    stride);
            blas.gemm(true, false, end, headSize, m, 1, ds, 0, end, qkv, rows, stride, beta, dqkv, dq + width, stride);
            blas.gemm(true, false, end, headSize, m, 1, p, 0, end, dout, g, width, beta, dqkv, dq + 2 * width, stride);
        }
    }

    // ---------------------------------------------------------------- with a cache of keys and values

    void cached(
            float[] qkv,
            int qo,
            float[] cache,
            int co,
            float[] out,
            int oo,
            int batch,
            int t,
            int position,
            int context,
            int heads,
            int headSize) {
        int width = heads * headSize;
        float scale = (float) (1 / Math.sqrt(headSize));
        Scratch scratch = Scratch.get();
        float[] p = scratch.floats(0, position + t);
        float[] bits = scratch.floats(1, position + t);
        for (int b = 0; b < batch; b++) {
            int rows = co + b * context * 2 * width;
            for (int i = 0; i < t; i++) {
                int row = qo + (b * t + i) * 3 * width;
                System.arraycopy(qkv, row + width, cache, rows + (position + i) * 2 * width, 2 * width);
                int visible = position + i + 1;
                for (int h = 0; h < heads; h++) {
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
                    VectorMath.weightedSum(
                            1,
                            p,
                            0,
                            1,
                            cache,
                            keys + width,
                            2 * width,
                            visible,
                            out,
                            oo + (b * t + i) * width + column,
                            headSize);
                }
            }
        }
    }
}
