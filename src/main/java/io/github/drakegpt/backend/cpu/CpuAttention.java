package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.Dropout;

/**
 * Causal self-attention on arrays: q, k and v lie side by side in the rows of qkv, heads side by side within each. The
 * weights of one head are worked out block by block in scratch memory and again for the gradient; only the
 * maximum and the inverse denominator of each softmax are kept.
 *
 * <p>Two ways: from {@link #BLAS_FROM} tokens on matrix products of OpenBLAS over blocks of rows, each as wide as the
 * causal mask lets it be; below that plain loops over all heads of a sequence at once, since a call would take longer
 * than the product.
 */
final class CpuAttention {
    private static final int BLAS_FROM = 24;
    private static final int BLOCK_ROWS = 64;
    /** Fills what lies behind the causal mask: never read, it only goes through exp with the rest. */
    private static final float MASKED = 0;

    private final Blas blas;

    CpuAttention(Blas blas) {
        this.blas = blas;
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
        float[] mask = t >= BLAS_FROM ? null : mask(dropout, firstSequence * heads * t * t, batch * heads * t * t);
        for (int b = 0; b < batch; b++) {
            int q = qo + b * t * 3 * width;
            int o = oo + b * t * width;
            int s = so + b * heads * t * 2;
            if (t >= BLAS_FROM) {
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
            } else {
                forwardLoops(qkv, q, out, o, stats, s, mask, b * heads * t * t, t, heads, headSize);
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
        float[] mask = t >= BLAS_FROM ? null : mask(dropout, firstSequence * heads * t * t, batch * heads * t * t);
        for (int b = 0; b < batch; b++) {
            int q = qo + b * t * 3 * width;
            int dq = dqo + b * t * 3 * width;
            int o = oo + b * t * width;
            int g = go + b * t * width;
            int s = so + b * heads * t * 2;
            if (t >= BLAS_FROM) {
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
            } else {
                backwardLoops(qkv, q, out, o, stats, s, dout, g, dqkv, dq, mask, b * heads * t * t, t, heads, headSize);
            }
        }
    }

    // ---------------------------------------------------------------- plain loops over all heads

    private static void forwardLoops(
            float[] qkv,
            int qo,
            float[] out,
            int oo,
            float[] stats,
            int so,
            float[] mask,
            int mo,
            int t,
            int heads,
            int headSize) {
        int width = heads * headSize;
        int stride = 3 * width;
        int rows = heads * t;
        int n = rows * t;
        float scale = (float) (1 / Math.sqrt(headSize));
        Scratch scratch = Scratch.get();
        float[] p = scratch.floats(0, n); // (H, T, T)
        float[] keys = scratch.floats(4, headSize * t); // of one head, transposed: (S, T)
        for (int r = 0; r < rows; r++) {
            int i = r % t;
            int column = r / t * headSize;
            if (i == 0) {
                VectorMath.transpose(qkv, qo + width + column, stride, keys, t, headSize);
            }
            VectorMath.weightedSum(scale, qkv, qo + i * stride + column, 1, keys, 0, t, headSize, p, r * t, t);
            float max = VectorMath.max(p, r * t, i + 1);
            stats[so + 2 * r] = max;
            for (int j = 0; j < t; j++) {
                p[r * t + j] = j <= i ? p[r * t + j] - max : MASKED;
            }
        }
        VectorMath.exp(p, 0, n, scratch.floats(1, n));
        for (int r = 0; r < rows; r++) {
            stats[so + 2 * r + 1] = 1 / VectorMath.sum(p, r * t, r % t + 1);
        }
        if (mask != null) {
            VectorMath.multiply(p, mask, mo, n);
        }
        for (int r = 0; r < rows; r++) {
            int i = r % t;
            int column = r / t * headSize;
            VectorMath.weightedSum(
                    stats[so + 2 * r + 1],
                    p,
                    r * t,
                    1,
                    qkv,
                    qo + 2 * width + column,
                    stride,
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
            float[] stats,
            int so,
            float[] dout,
            int go,
            float[] dqkv,
            int dqo,
            float[] mask,
            int mo,
            int t,
            int heads,
            int headSize) {
        int width = heads * headSize;
        int stride = 3 * width;
        int rows = heads * t;
        int n = rows * t;
        float scale = (float) (1 / Math.sqrt(headSize));
        Scratch scratch = Scratch.get();
        float[] p = scratch.floats(0, n); // (H, T, T)
        float[] ds = scratch.floats(2, n); // (H, T, T)
        float[] keys = scratch.floats(4, headSize * t); // of one head, transposed: (S, T)
        float[] values = scratch.floats(5, headSize * t); // the same
        for (int r = 0; r < rows; r++) {
            int i = r % t;
            int column = r / t * headSize;
            if (i == 0) {
                VectorMath.transpose(qkv, qo + width + column, stride, keys, t, headSize);
                VectorMath.transpose(qkv, qo + 2 * width + column, stride, values, t, headSize);
            }
            VectorMath.weightedSum(scale, qkv, qo + i * stride + column, 1, keys, 0, t, headSize, p, r * t, t);
            VectorMath.weightedSum(1, dout, go + i * width + column, 1, values, 0, t, headSize, ds, r * t, t);
            float max = stats[so + 2 * r];
            for (int j = 0; j < t; j++) {
                p[r * t + j] = j <= i ? p[r * t + j] - max : MASKED;
            }
        }
        VectorMath.exp(p, 0, n, scratch.floats(1, n));
        if (mask != null) {
            VectorMath.multiply(ds, mask, mo, n);
        }
        for (int r = 0; r < rows; r++) {
            int i = r % t;
            int g = i * width + r / t * headSize;
            float inner = VectorMath.dot(dout, go + g, out, oo + g, headSize);
            float factor = stats[so + 2 * r + 1];
            for (int j = r * t; j < r * t + t; j++) {
                p[j] *= factor;
                ds[j] = p[j] * (ds[j] - inner) * scale;
            }
        }
        if (mask != null) {
            VectorMath.multiply(p, mask, mo, n);
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
                VectorMath.weightedSum(1, ds, row, 1, qkv, q + width, stride, i + 1, dqkv, at, headSize);
                VectorMath.weightedSum(
                        1, ds, diagonal, t, qkv, q + i * stride, stride, below, dqkv, at + width, headSize);
                VectorMath.weightedSum(
                        1, p, diagonal, t, dout, g + i * width, width, below, dqkv, at + 2 * width, headSize);
            }
        }
    }

    /** The mask of a stretch of weights, or null if nothing is dropped. */
    private static float[] mask(Dropout dropout, long first, int n) {
        if (dropout == null) {
            return null;
        }
        Scratch scratch = Scratch.get();
        float[] mask = scratch.floats(3, n);
        Masks.fill(dropout, first, n, mask, scratch);
        return mask;
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
