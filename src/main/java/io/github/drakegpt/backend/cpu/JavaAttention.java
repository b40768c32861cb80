package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.ints;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;
import static io.github.drakegpt.backend.cpu.VectorMath.addProduct;

import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.Pass;
import java.util.Arrays;

/**
 * Causal self-attention: the definition of its bits, and what machines without native code compute. Each score is a
 * chain of fused multiply-adds over the head's channels, each output one over its keys, each gradient of a key one over
 * its queries, all in ascending order; sums over keys are {@link VectorMath#sum}'s.
 *
 * <p>The weights of one query are computed in scratch memory, and again for the gradient; only the maximum and the
 * inverse denominator of each softmax are kept.
 */
class JavaAttention {
    /** Factors of dropout that are drawn at a time, unless one sequence has more. */
    private static final int MASK = 1 << 18;

    private final JavaDropout dropout;

    JavaAttention(JavaDropout dropout) {
        this.dropout = dropout;
    }

    void attention(AttentionOp op, Pass pass) {
        op.rows(pass);
        forGroups(op, pass, (sequence, count, mask) -> forward(op, pass, sequence, count, mask));
    }

    void attentionGrad(AttentionGradOp op, Pass pass) {
        op.rows(pass);
        forGroups(op.forward(), pass, (sequence, count, mask) -> backward(op, pass, sequence, count, mask));
    }

    /** Sequences of a pass, and the mask of their weights (count, H, T, T), or null if nothing is dropped. */
    private interface Group {
        void run(int sequence, int count, float[] mask);
    }

    private void forGroups(AttentionOp op, Pass pass, Group group) {
        int weights = op.heads() * pass.length() * pass.length(); // of a sequence
        boolean drops = op.dropout() != null && pass.training();
        int most = drops ? Math.max(1, MASK / weights) : pass.batch();
        for (int b = 0; b < pass.batch(); b += most) {
            int count = Math.min(most, pass.batch() - b);
            long first = (pass.firstSequence() + b) * weights;
            group.run(b, count, drops ? dropout.mask(op.dropout(), pass, first, count * weights) : null);
        }
    }

    static float scale(int headSize) {
        return (float) (1 / Math.sqrt(headSize));
    }

    // ---------------------------------------------------------------- some sequences of a pass

    void forward(AttentionOp op, Pass pass, int sequence, int count, float[] mask) {
        for (int b = 0; b < count; b++) {
            for (int h = 0; h < op.heads(); h++) {
                forward(
                        new Head(op, pass, sequence + b, h),
                        mask,
                        (b * op.heads() + h) * pass.length() * pass.length());
            }
        }
    }

    void backward(AttentionGradOp op, Pass pass, int sequence, int count, float[] mask) {
        int heads = op.forward().heads();
        for (int b = 0; b < count; b++) {
            for (int h = 0; h < heads; h++) {
                Head head = new Head(op.forward(), pass, sequence + b, h);
                backward(op, head, mask, (b * heads + h) * pass.length() * pass.length());
            }
        }
    }

    /** One head of one sequence, and where it begins in the arrays. */
    private static final class Head {
        private final int t;
        private final int size;
        private final int width;
        private final int row; // of qkv
        private final float[] qkv;
        private final float[] outs;
        private final float[] stats;
        private final int stat;
        private final int inQkv; // in the sequences' qkv
        private final int inOut;
        private final int q;
        private final int out;

        Head(AttentionOp op, Pass pass, int b, int h) {
            t = pass.length();
            size = op.headSize();
            width = op.heads() * size;
            row = 3 * width;
            qkv = floats(op.qkv());
            outs = floats(op.out());
            stats = floats(op.stats());
            stat = start(op.stats()) + (b * op.heads() + h) * t * 2;
            inQkv = b * t * row + h * size;
            inOut = b * t * width + h * size;
            q = start(op.qkv()) + inQkv;
            out = start(op.out()) + inOut;
        }

        /** scaled (size) = query i. */
        void query(int i, float[] scaled) {
            float scale = scale(size);
            for (int d = 0; d < size; d++) {
                scaled[d] = qkv[q + i * row + d] * scale;
            }
        }

        /** The rows (t, size) of qkv from a column on: 0 queries, {@code width} keys, {@code 2 * width} values. */
        float[][] rows(int slot, int column) {
            float[][] rows = Scratch.get().rows(slot, t, size);
            for (int j = 0; j < t; j++) {
                System.arraycopy(qkv, q + column + j * row, rows[j], 0, size);
            }
            return rows;
        }

        /** Their columns (size, t). */
        float[][] columns(int slot, int column) {
            float[][] columns = Scratch.get().rows(slot, size, t);
            for (int j = 0; j < t; j++) {
                for (int d = 0; d < size; d++) {
                    columns[d][j] = qkv[q + column + j * row + d];
                }
            }
            return columns;
        }

        /** y[j] = the product of x (size) and column j, for j < n. */
        void products(float[] x, float[][] columns, float[] y, int n) {
            Arrays.fill(y, 0, n, 0f);
            for (int d = 0; d < size; d++) {
                addProduct(x[d], columns[d], y, n);
            }
        }
    }

    private static void forward(Head head, float[] mask, int maskAt) {
        int size = head.size;
        Scratch scratch = Scratch.get();
        float[][] keys = head.columns(0, head.width);
        float[][] values = head.rows(1, 2 * head.width);
        float[] p = scratch.floats(1, head.t);
        float[] bits = scratch.floats(2, head.t);
        float[] query = scratch.floats(3, size);
        float[] out = scratch.floats(4, size);
        for (int i = 0; i < head.t; i++) {
            head.query(i, query);
            head.products(query, keys, p, i + 1);
            softmax(p, i + 1, bits, head.stats, head.stat + 2 * i);
            multiply(p, mask, maskAt + i * head.t, i + 1);
            Arrays.fill(out, 0, size, 0f);
            for (int j = 0; j <= i; j++) {
                addProduct(p[j], values[j], out, size);
            }
            System.arraycopy(out, 0, head.outs, head.out + i * head.width, size);
        }
    }

    /** In place; stats receives the maximum and the inverse denominator. */
    private static void softmax(float[] p, int n, float[] bits, float[] stats, int stat) {
        float max = VectorMath.max(p, 0, n);
        for (int j = 0; j < n; j++) {
            p[j] -= max;
        }
        VectorMath.exp(p, 0, n, bits);
        float factor = 1 / VectorMath.sum(p, 0, n);
        for (int j = 0; j < n; j++) {
            p[j] *= factor;
        }
        stats[stat] = max;
        stats[stat + 1] = factor;
    }

    private static void multiply(float[] x, float[] mask, int at, int n) {
        for (int j = 0; j < n && mask != null; j++) {
            x[j] *= mask[at + j];
        }
    }

    private static void backward(AttentionGradOp op, Head head, float[] mask, int maskAt) {
        int t = head.t;
        int size = head.size;
        int width = head.width;
        Scratch scratch = Scratch.get();
        float[][] keys = head.columns(0, width);
        float[][] values = head.columns(1, 2 * width);
        float[][] keyRows = head.rows(2, width);
        float[][] dkeys = zeros(3, t, size);
        float[][] dvalues = zeros(4, t, size);
        float[] p = scratch.floats(1, t);
        float[] bits = scratch.floats(2, t);
        float[] query = scratch.floats(3, size);
        float[] dout = scratch.floats(4, size);
        float[] ds = scratch.floats(5, t);
        float[] dquery = scratch.floats(6, size);
        float[] dqkv = floats(op.dqkv());
        int dq = start(op.dqkv()) + head.inQkv;
        float scale = scale(size);
        for (int i = 0; i < t; i++) {
            head.query(i, query);
            System.arraycopy(floats(op.dout()), start(op.dout()) + head.inOut + i * width, dout, 0, size);
            head.products(query, keys, p, i + 1);
            head.products(dout, values, ds, i + 1);
            float max = head.stats[head.stat + 2 * i];
            float factor = head.stats[head.stat + 2 * i + 1];
            for (int j = 0; j <= i; j++) {
                p[j] -= max;
            }
            VectorMath.exp(p, 0, i + 1, bits);
            for (int j = 0; j <= i; j++) {
                p[j] *= factor;
            }
            float inner = VectorMath.dot(head.outs, head.out + i * width, dout, 0, size);
            multiply(ds, mask, maskAt + i * t, i + 1);
            for (int j = 0; j <= i; j++) {
                ds[j] = p[j] * (ds[j] - inner);
            }
            multiply(p, mask, maskAt + i * t, i + 1);
            Arrays.fill(dquery, 0, size, 0f);
            for (int j = 0; j <= i; j++) {
                addProduct(ds[j], keyRows[j], dquery, size);
                addProduct(ds[j], query, dkeys[j], size);
                addProduct(p[j], dout, dvalues[j], size);
            }
            for (int d = 0; d < size; d++) {
                dqkv[dq + i * head.row + d] = dquery[d] * scale;
            }
        }
        for (int j = 0; j < t; j++) {
            System.arraycopy(dkeys[j], 0, dqkv, dq + j * head.row + width, size);
            System.arraycopy(dvalues[j], 0, dqkv, dq + j * head.row + 2 * width, size);
        }
    }

    private static float[][] zeros(int slot, int count, int length) {
        float[][] rows = Scratch.get().rows(slot, count, length);
        for (int i = 0; i < count; i++) {
            Arrays.fill(rows[i], 0, length, 0f);
        }
        return rows;
    }

    // ---------------------------------------------------------------- with a cache of keys and values

    void attentionCached(AttentionCachedOp op, Pass pass) {
        op.rows(pass);
        int t = pass.length();
        int size = op.headSize();
        int width = op.heads() * size;
        int position = ints(op.position())[start(op.position())];
        float[] qkv = floats(op.qkv());
        float[] cache = floats(op.cache());
        float[] outs = floats(op.out());
        Scratch scratch = Scratch.get();
        float[] p = scratch.floats(0, position + t);
        float[] bits = scratch.floats(1, position + t);
        float[] stats = scratch.floats(2, 2);
        float scale = scale(size);
        for (int b = 0; b < pass.batch(); b++) {
            int rows = start(op.cache()) + b * op.context() * 2 * width;
            for (int i = 0; i < t; i++) {
                int row = start(op.qkv()) + (b * t + i) * 3 * width;
                System.arraycopy(qkv, row + width, cache, rows + (position + i) * 2 * width, 2 * width);
                int visible = position + i + 1;
                for (int h = 0; h < op.heads(); h++) {
                    int keys = rows + h * size;
                    for (int j = 0; j < visible; j++) {
                        float score = 0;
                        for (int d = 0; d < size; d++) {
                            score = Math.fma(qkv[row + h * size + d] * scale, cache[keys + j * 2 * width + d], score);
                        }
                        p[j] = score;
                    }
                    softmax(p, visible, bits, stats, 0);
                    int out = start(op.out()) + (b * t + i) * width + h * size;
                    Arrays.fill(outs, out, out + size, 0f);
                    for (int j = 0; j < visible; j++) {
                        int value = keys + width + j * 2 * width;
                        for (int d = 0; d < size; d++) {
                            outs[out + d] = Math.fma(p[j], cache[value + d], outs[out + d]);
                        }
                    }
                }
            }
        }
    }
}
