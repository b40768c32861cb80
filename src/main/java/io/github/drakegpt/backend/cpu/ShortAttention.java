package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;

/**
 * Causal self-attention of short sequences, where the call of a matrix product for each head would take longer than the
 * product. Instead the queries of all heads and sequences are computed in parallel: a lane is one query, and a loop
 * over the lanes does the same for all of them, which the JIT compiler vectorizes.
 *
 * <p>Lanes are ordered by token, then sequence, then head. So those of token i begin at i * {@link #stride}, and the
 * token {@code distance} before that of lane r is in lane r - distance * stride. Loops over arrays at two such places
 * would not be vectorized, so keys and values are first moved to the lanes of the queries that attend to them, and for
 * their gradients queries are moved the other way. The causal mask is the start of the loops: lanes below distance *
 * stride have no token that far back.
 *
 * <p>An instance holds the buffers of one thread. Letters in shapes: S head size, T tokens, N lanes.
 */
final class ShortAttention {
    /** Approximate number of lanes at a time: enough for long loops, few enough to stay in the cache. */
    private static final int GROUP_LANES = 512;

    private int sequences;
    private int t;
    private int heads;
    private int headSize;
    private int stride;
    private int lanes;

    // offsets of each lane in the tensors, counted from the first sequence of the group; each (N)
    private int[] qkvAt = new int[0];
    private int[] outAt = new int[0];
    private int[] statsAt = new int[0];
    private int[] maskAt = new int[0]; // of the weight at distance 0

    // an array for each channel or distance, since loops over arrays at different offsets are not vectorized
    private final Lanes q = new Lanes(); // (S, N), scaled
    private final Lanes k = new Lanes(); // (S, N)
    private final Lanes v = new Lanes(); // (S, N)
    private final Lanes out = new Lanes(); // (S, N)
    private final Lanes dout = new Lanes(); // (S, N)
    private final Lanes dq = new Lanes(); // (S, N)
    private final Lanes dk = new Lanes(); // (S, N)
    private final Lanes dv = new Lanes(); // (S, N)
    private final Lanes moved = new Lanes(); // (S, N)
    private final Lanes[] channels = {q, k, v, out, dout, dq, dk, dv, moved};
    private final Lanes p = new Lanes(); // (T, N)

    // one number for each lane; each (N)
    private final Lanes numbers = new Lanes();
    private float[] max;
    private float[] factor; // 1 / denominator of the softmax
    private float[] inner; // out * dout
    private float[] dp;
    private float[] movedWeights;
    private float[] exponents; // scratch for exp

    void forward(AttentionOp op, Pass pass) {
        int batch = pass.batch();
        int t = pass.length();
        int width = op.heads() * op.headSize();
        float[] stats = floats(op.stats());
        int group = groupSize(batch, t, op.heads());
        for (int b = 0; b < batch; b += group) {
            prepare(Math.min(group, batch - b), t, op.heads(), op.headSize());
            float[] mask = mask(op, pass, b);
            load(op.qkv(), b, width);
            softmax();
            int s = start(op.stats()) + b * heads * t * 2;
            for (int r = 0; r < lanes; r++) {
                stats[s + statsAt[r]] = max[r];
                stats[s + statsAt[r] + 1] = factor[r];
            }
            out.clear();
            for (int distance = 0; distance < t; distance++) {
                float[] weights = p.get(distance);
                int from = distance * stride;
                applyMask(mask, distance, weights);
                moveLater(v, from);
                addScaled(weights, moved, out, from, lanes);
            }
            out.scatter(floats(op.out()), start(op.out()) + b * t * width, outAt);
        }
    }

    void backward(AttentionGradOp op, Pass pass) {
        AttentionOp forward = op.forward();
        int batch = pass.batch();
        int t = pass.length();
        int width = forward.heads() * forward.headSize();
        float[] stats = floats(forward.stats());
        float[] dqkv = floats(op.dqkv());
        int group = groupSize(batch, t, forward.heads());
        for (int b = 0; b < batch; b += group) {
            prepare(Math.min(group, batch - b), t, forward.heads(), forward.headSize());
            float[] mask = mask(forward, pass, b);
            load(forward.qkv(), b, width);
            out.gather(floats(forward.out()), start(forward.out()) + b * t * width, outAt);
            dout.gather(floats(op.dout()), start(op.dout()) + b * t * width, outAt);
            int s = start(forward.stats()) + b * heads * t * 2;
            for (int r = 0; r < lanes; r++) {
                max[r] = stats[s + statsAt[r]];
                factor[r] = stats[s + statsAt[r] + 1];
            }
            dot(out, dout, inner, 0, lanes);
            dq.clear();
            dk.clear();
            dv.clear();
            for (int distance = 0; distance < t; distance++) {
                addGradients(distance, mask);
            }
            dq.multiply(scale());
            int dqkvAt = start(op.dqkv()) + b * t * 3 * width;
            dq.scatter(dqkv, dqkvAt, qkvAt);
            dk.scatter(dqkv, dqkvAt + width, qkvAt);
            dv.scatter(dqkv, dqkvAt + 2 * width, qkvAt);
        }
    }

    private static int groupSize(int batch, int t, int heads) {
        return Math.max(1, Math.min(batch, GROUP_LANES / (t * heads)));
    }

    private float scale() {
        return (float) (1 / Math.sqrt(headSize));
    }

    /** Allocates buffers and computes the offsets of lanes, unless the sizes are those of the call before. */
    private void prepare(int sequences, int t, int heads, int headSize) {
        if (sequences == this.sequences && t == this.t && heads == this.heads && headSize == this.headSize) {
            return;
        }
        this.sequences = sequences;
        this.t = t;
        this.heads = heads;
        this.headSize = headSize;
        stride = sequences * heads;
        lanes = t * stride;
        for (Lanes each : channels) {
            each.resize(headSize, lanes);
        }
        p.resize(t, lanes);
        numbers.resize(6, lanes);
        max = numbers.get(0);
        factor = numbers.get(1);
        inner = numbers.get(2);
        dp = numbers.get(3);
        movedWeights = numbers.get(4);
        exponents = numbers.get(5);
        findLanes();
    }

    private void findLanes() {
        if (qkvAt.length < lanes) {
            qkvAt = new int[lanes];
            outAt = new int[lanes];
            statsAt = new int[lanes];
            maskAt = new int[lanes];
        }
        for (int r = 0; r < lanes; r++) {
            int i = r / stride;
            int b = r % stride / heads;
            int h = r % heads;
            int row = b * t + i; // of qkv and out
            int softmax = (b * heads + h) * t + i;
            qkvAt[r] = (row * 3 * heads + h) * headSize;
            outAt[r] = (row * heads + h) * headSize;
            statsAt[r] = 2 * softmax;
            maskAt[r] = softmax * t + i;
        }
    }

    /** Loads queries, keys and values from the given sequence on. */
    private void load(Tensor qkv, int sequence, int width) {
        float[] array = floats(qkv);
        int o = start(qkv) + sequence * t * 3 * width;
        q.gather(array, o, qkvAt);
        k.gather(array, o + width, qkvAt);
        v.gather(array, o + 2 * width, qkvAt);
        q.multiply(scale());
    }

    /** The mask of the weights (sequences, H, T, T) from a sequence of the pass on, or null if nothing is dropped. */
    private float[] mask(AttentionOp op, Pass pass, int sequence) {
        long first = (pass.firstSequence() + sequence) * heads * t * t;
        return Scratch.get().masks().get(op.dropout(), pass, first, lanes * t);
    }

    private void applyMask(float[] mask, int distance, float[] y) {
        if (mask == null) {
            return;
        }
        for (int r = distance * stride; r < lanes; r++) {
            y[r] *= mask[maskAt[r] - distance];
        }
    }

    /** Weights, and the maximum and the inverse denominator of each softmax. */
    private void softmax() {
        Arrays.fill(max, 0, lanes, Float.NEGATIVE_INFINITY);
        for (int distance = 0; distance < t; distance++) {
            int from = distance * stride;
            moveLater(k, from);
            dot(q, moved, p.get(distance), from, lanes);
            VectorMath.maximum(max, p.get(distance), from, lanes);
        }
        Arrays.fill(factor, 0, lanes, 0f);
        for (int distance = 0; distance < t; distance++) {
            int from = distance * stride;
            exp(p.get(distance), from);
            VectorMath.add(factor, p.get(distance), from, lanes);
        }
        for (int r = 0; r < lanes; r++) {
            factor[r] = 1 / factor[r];
        }
        for (int distance = 0; distance < t; distance++) {
            VectorMath.multiply(p.get(distance), factor, distance * stride, lanes);
        }
    }

    /** x = e^(x - max) from a lane on. */
    private void exp(float[] x, int from) {
        VectorMath.subtract(x, max, from, lanes);
        VectorMath.exp(x, from, lanes - from, exponents);
    }

    /** Adds the contribution of the weights at one distance to the gradients. */
    private void addGradients(int distance, float[] mask) {
        int from = distance * stride;
        int n = lanes - from;
        float[] weights = p.get(0);
        moveLater(v, from);
        dot(dout, moved, dp, from, lanes);
        applyMask(mask, distance, dp);
        moveLater(k, from);
        dot(q, moved, weights, from, lanes);
        exp(weights, from);
        VectorMath.multiply(weights, factor, from, lanes);
        scoreGradient(weights, inner, dp, from, lanes);
        addScaled(dp, moved, dq, from, lanes);
        applyMask(mask, distance, weights);

        moveEarlier(q, from);
        System.arraycopy(dp, from, movedWeights, 0, n);
        addScaled(movedWeights, moved, dk, 0, n);
        moveEarlier(dout, from);
        System.arraycopy(weights, from, movedWeights, 0, n);
        addScaled(movedWeights, moved, dv, 0, n);
    }

    /** dp = p * (dp - inner): the gradient of the scaled scores. */
    private static void scoreGradient(float[] p, float[] inner, float[] dp, int from, int to) {
        for (int r = from; r < to; r++) {
            dp[r] = p[r] * (dp[r] - inner[r]);
        }
    }

    /** moved[r + by] = x[r]: from keys to the queries that attend to them. */
    private void moveLater(Lanes x, int by) {
        for (int d = 0; d < headSize; d++) {
            System.arraycopy(x.get(d), 0, moved.get(d), by, lanes - by);
        }
    }

    /** moved[r] = x[r + by]: from queries to the keys that they attend to. */
    private void moveEarlier(Lanes x, int by) {
        for (int d = 0; d < headSize; d++) {
            System.arraycopy(x.get(d), by, moved.get(d), 0, lanes - by);
        }
    }

    /** y[r] = the sum over all channels of a[r] * b[r]. */
    private static void dot(Lanes a, Lanes b, float[] y, int from, int to) {
        Arrays.fill(y, from, to, 0f);
        for (int d = 0; d < a.count(); d++) {
            addProduct(a.get(d), b.get(d), y, from, to);
        }
    }

    private static void addProduct(float[] a, float[] b, float[] y, int from, int to) {
        for (int r = from; r < to; r++) {
            y[r] += a[r] * b[r];
        }
    }

    /** y[r] += weights[r] * x[r] for each channel. */
    private static void addScaled(float[] weights, Lanes x, Lanes y, int from, int to) {
        for (int d = 0; d < x.count(); d++) {
            addProduct(weights, x.get(d), y.get(d), from, to);
        }
    }

    /** Arrays of one length, kept until more or longer ones are needed. */
    private static final class Lanes {
        private float[][] arrays = new float[1][0];
        private int length;
        private int count;

        void resize(int count, int length) {
            if (arrays.length < count || arrays[0].length < length) {
                arrays = new float[Math.max(count, arrays.length)][Math.max(length, arrays[0].length)];
            }
            this.count = count;
            this.length = length;
        }

        int count() {
            return count;
        }

        float[] get(int i) {
            return arrays[i];
        }

        void clear() {
            for (int i = 0; i < count; i++) {
                Arrays.fill(arrays[i], 0, length, 0f);
            }
        }

        void multiply(float factor) {
            for (int i = 0; i < count; i++) {
                VectorMath.multiply(arrays[i], factor, length);
            }
        }

        /** Array i = the values at offset i from each index. */
        void gather(float[] x, int xo, int[] at) {
            int i = 0;
            for (; i < count - 3; i += 4) {
                gather(x, xo + i, at, arrays[i], arrays[i + 1], arrays[i + 2], arrays[i + 3], length);
            }
            for (; i < count; i++) {
                for (int r = 0; r < length; r++) {
                    arrays[i][r] = x[xo + i + at[r]];
                }
            }
        }

        private static void gather(float[] x, int xo, int[] at, float[] y0, float[] y1, float[] y2, float[] y3, int n) {
            for (int r = 0; r < n; r++) {
                int o = xo + at[r];
                y0[r] = x[o];
                y1[r] = x[o + 1];
                y2[r] = x[o + 2];
                y3[r] = x[o + 3];
            }
        }

        /** The reverse of {@link #gather(float[], int, int[])}. */
        void scatter(float[] y, int yo, int[] at) {
            int i = 0;
            for (; i < count - 3; i += 4) {
                scatter(arrays[i], arrays[i + 1], arrays[i + 2], arrays[i + 3], y, yo + i, at, length);
            }
            for (; i < count; i++) {
                for (int r = 0; r < length; r++) {
                    y[yo + i + at[r]] = arrays[i][r];
                }
            }
        }

        private static void scatter(
                float[] x0, float[] x1, float[] x2, float[] x3, float[] y, int yo, int[] at, int n) {
            for (int r = 0; r < n; r++) {
                int o = yo + at[r];
                y[o] = x0[r];
                y[o + 1] = x1[r];
                y[o + 2] = x2[r];
                y[o + 3] = x3[r];
            }
        }
    }
}
