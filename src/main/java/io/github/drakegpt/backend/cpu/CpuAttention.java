package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.Dropout;

/**
 * Causal self-attention on arrays: q, k and v lie side by side in the rows of qkv, heads side by side within each. The
 * weights of one head are worked out block by block in scratch memory and again for the gradient; only the logarithm of
 * each softmax's denominator is kept.
 *
 * <p>Two ways: from {@link #BLAS_FROM} tokens on matrix products of OpenBLAS over blocks of rows, each as wide as the
 * causal mask lets it be; below that plain loops over all heads of a sequence at once, since a call would take longer
 * than the product.
 */
final class CpuAttention {
    private static final int BLAS_FROM = 24;
    private static final int BLOCK_ROWS = 64;
    /** Stands for minus infinity behind the causal mask; never read again, it only has to go through exp unharmed. */
    private static final float MASKED = -80f;

    private final Blas blas;

    CpuAttention(Blas blas) {
        this.blas = blas;
    }

    void forward(
            float[] qkv,
            int qo,
            float[] out,
            int oo,
            float[] lse,
            int lo,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize) {
        int width = heads * headSize;
        for (int b = 0; b < batch; b++) {
            int q = qo + b * t * 3 * width;
            int o = oo + b * t * width;
            int l = lo + b * heads * t;
            if (t >= BLAS_FROM) {
                for (int h = 0; h < heads; h++) {
                    forwardBlocks(
                            qkv,
                            q,
                            out,
                            o,
                            lse,
                            l + h * t,
                            dropout,
                            (firstSequence + b) * heads + h,
                            h,
                            t,
                            width,
                            headSize);
                }
            } else {
                forwardLoops(qkv, q, out, o, lse, l, dropout, firstSequence + b, t, heads, headSize);
            }
        }
    }

    void backward(
            float[] qkv,
            int qo,
            float[] out,
            int oo,
            float[] lse,
            int lo,
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
        for (int b = 0; b < batch; b++) {
            int q = qo + b * t * 3 * width;
            int dq = dqo + b * t * 3 * width;
            int o = oo + b * t * width;
            int g = go + b * t * width;
            int l = lo + b * heads * t;
            if (t >= BLAS_FROM) {
                for (int h = 0; h < heads; h++) {
                    backwardBlocks(
                            qkv,
                            q,
                            out,
                            o,
                            lse,
                            l + h * t,
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
            } else {
                backwardLoops(
                        qkv, q, out, o, lse, l, dout, g, dqkv, dq, dropout, firstSequence + b, t, heads, headSize);
            }
        }
    }

    // ------------------------------------------------------------------------------------ plain loops, all heads at
    // once

    /** Fills p (H, T, T) with q k^T * scale, and what lies behind the causal mask with {@link #MASKED}. */
    private static void scores(float[] qkv, int qo, float[] p, int t, int heads, int headSize) {
        int width = heads * headSize;
        int stride = 3 * width;
        float scale = (float) (1 / Math.sqrt(headSize));
        for (int h = 0; h < heads; h++) {
            for (int i = 0; i < t; i++) {
                int row = (h * t + i) * t;
                int q = qo + i * stride + h * headSize;
                int k = qo + width + h * headSize;
                for (int j = 0; j <= i; j++) {
                    p[row + j] = VectorMath.dot(qkv, q, qkv, k + j * stride, headSize) * scale;
                }
                for (int j = i + 1; j < t; j++) {
                    p[row + j] = MASKED;
                }
            }
        }
    }

    private static void forwardLoops(
            float[] qkv,
            int qo,
            float[] out,
            int oo,
            float[] lse,
            int lo,
            Dropout dropout,
            long sequence,
            int t,
            int heads,
            int headSize) {
        int width = heads * headSize;
        int rows = heads * t;
        int n = rows * t;
        Scratch scratch = Scratch.get();
        float[] p = scratch.floats(0, n);
        scores(qkv, qo, p, t, heads, headSize);
        for (int r = 0; r < rows; r++) {
            int visible = r % t + 1;
            float max = VectorMath.max(p, r * t, visible);
            lse[lo + r] = max;
            for (int j = 0; j < visible; j++) {
                p[r * t + j] -= max;
            }
        }
        VectorMath.exp(p, 0, n, scratch.floats(1, n));
        float[] mask = mask(dropout, sequence * n, n, scratch);
        for (int r = 0; r < rows; r++) {
            int i = r % t;
            float denominator = VectorMath.sum(p, r * t, i + 1);
            lse[lo + r] += (float) Math.log(denominator);
            float factor = 1 / denominator;
            for (int j = 0; j <= i; j++) {
                p[r * t + j] *= mask == null ? factor : factor * mask[r * t + j];
            }
            int column = r / t * headSize;
            VectorMath.weightedSum(
                    p,
                    r * t,
                    1,
                    qkv,
                    qo + 2 * width + column,
                    3 * width,
                    i + 1,
                    out,
                    oo + i * width + column,
                    headSize);
        }
    }

    private static void backwardLoops(
            float[] qkv,
            int qo,
            float[] out,
            int oo,
            float[] lse,
            int lo,
            float[] dout,
            int go,
            float[] dqkv,
            int dqo,
            Dropout dropout,
            long sequence,
            int t,
            int heads,
            int headSize) {
        int width = heads * headSize;
        int stride = 3 * width;
        int rows = heads * t;
        int n = rows * t;
        float scale = (float) (1 / Math.sqrt(headSize));
        Scratch scratch = Scratch.get();
        float[] p = scratch.floats(0, n);
        scores(qkv, qo, p, t, heads, headSize);
        for (int r = 0; r < rows; r++) {
            for (int j = 0; j <= r % t; j++) {
                p[r * t + j] -= lse[lo + r];
            }
        }
        VectorMath.exp(p, 0, n, scratch.floats(1, n));
        float[] mask = mask(dropout, sequence * n, n, scratch);
        float[] ds = scratch.floats(2, n);
        for (int r = 0; r < rows; r++) {
            int i = r % t;
            int column = r / t * headSize;
            int g = go + i * width + column;
            float inner = VectorMath.dot(dout, g, out, oo + i * width + column, headSize);
            int v = qo + 2 * width + column;
            for (int j = 0; j <= i; j++) {
                int e = r * t + j;
                float dp = VectorMath.dot(dout, g, qkv, v + j * stride, headSize);
                float keep = mask == null ? 1 : mask[e];
                ds[e] = p[e] * (keep * dp - inner) * scale;
                p[e] *= keep;
            }
        }
        for (int h = 0; h < heads; h++) {
            int q = qo + h * headSize;
            int dq = dqo + h * headSize;
            int g = go + h * headSize;
            for (int i = 0; i < t; i++) {
                int row = (h * t + i) * t;
                int diagonal = row + i;
                int below = t - i;
                int at = dq + i * stride;
                VectorMath.weightedSum(ds, row, 1, qkv, q + width, stride, i + 1, dqkv, at, headSize);
                VectorMath.weightedSum(ds, diagonal, t, qkv, q + i * stride, stride, below, dqkv, at + width, headSize);
                VectorMath.weightedSum(
                        p, diagonal, t, dout, g + i * width, width, below, dqkv, at + 2 * width, headSize);
            }
        }
    }

    private static float[] mask(Dropout dropout, long first, int n, Scratch scratch) {
        if (dropout == null) {
            return null;
        }
        float[] mask = scratch.floats(3, n);
        Masks.fill(dropout, first, n, mask, 0, scratch);
        return mask;
    }

    // ------------------------------------------------------------------------------------ blocks of rows, one head

    private void forwardBlocks(
            float[] qkv,
            int qo,
            float[] out,
            int oo,
            float[] lse,
            int lo,
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
                lse[lo + i] = max + (float) Math.log(denominator);
                float factor = 1 / denominator;
                float[] mask = mask(dropout, (sequenceHead * t + i) * t, i + 1, scratch);
                if (mask == null) {
                    for (int j = 0; j <= i; j++) {
                        p[row + j] *= factor;
                    }
                } else {
                    for (int j = 0; j <= i; j++) {
                        p[row + j] *= factor * mask[j];
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
            float[] lse,
            int lo,
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
            int rows = q + i0 * stride;
            int g = go + i0 * width + column;
            blas.gemm(false, true, m, end, headSize, scale, qkv, rows, stride, qkv, q + width, stride, 0, p, 0, end);
            blas.gemm(false, true, m, end, headSize, 1, dout, g, width, qkv, q + 2 * width, stride, 0, ds, 0, end);
            for (int r = 0; r < m; r++) {
                int i = i0 + r;
                int row = r * end;
                float logDenominator = lse[lo + i];
                for (int j = 0; j <= i; j++) {
                    p[row + j] -= logDenominator;
                }
                VectorMath.exp(p, row, i + 1, bits);
                float inner = VectorMath.dot(dout, go + i * width + column, out, oo + i * width + column, headSize);
                float[] mask = mask(dropout, (sequenceHead * t + i) * t, i + 1, scratch);
                if (mask == null) {
                    for (int j = 0; j <= i; j++) {
                        ds[row + j] = p[row + j] * (ds[row + j] - inner) * scale;
                    }
                } else {
                    for (int j = 0; j <= i; j++) {
                        ds[row + j] = p[row + j] * (mask[j] * ds[row + j] - inner) * scale;
                        p[row + j] *= mask[j];
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

    // ------------------------------------------------------------------------------------ with a cache of keys and
    // values

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
