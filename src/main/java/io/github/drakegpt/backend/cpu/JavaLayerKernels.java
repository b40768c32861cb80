package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;

/** In Java, of whose long loops the JIT compiler makes vector code. */
final class JavaLayerKernels implements LayerKernels {
    @Override
    public void norm(Tensor x, Tensor weight, Tensor bias, Tensor out, Tensor stats, int rows, int c, float eps) {
        int n = rows * c;
        Scratch scratch = Scratch.get();
        float[] xs = Flat.in(x, n, scratch, 0);
        float[] outs = Flat.out(out, n, scratch, 1);
        float[] scales = scratch.floats(2, n);
        float[] weights = scratch.floats(3, n);
        float[] biases = scratch.floats(4, n);
        float[] stat = floats(stats);
        int so = start(stats);
        fill(weights, weight, rows, c);
        fill(biases, bias, rows, c);
        for (int r = 0; r < rows; r++) {
            float mean = VectorMath.sum(xs, r * c, c) / c;
            stat[so + 2 * r] = mean;
            Arrays.fill(scales, r * c, r * c + c, mean);
        }
        VectorMath.subtract(xs, scales, outs, n);
        for (int r = 0; r < rows; r++) {
            float variance = VectorMath.dot(outs, r * c, outs, r * c, c) / c;
            float rstd = (float) (1 / Math.sqrt(variance + eps));
            stat[so + 2 * r + 1] = rstd;
            Arrays.fill(scales, r * c, r * c + c, rstd);
        }
        for (int i = 0; i < n; i++) {
            outs[i] = outs[i] * scales[i] * weights[i] + biases[i];
        }
        Flat.store(outs, out, n);
    }

    @Override
    public void normGrad(
            Tensor x, Tensor weight, Tensor stats, Tensor dout, Tensor dx, float[] products, int rows, int c) {
        int n = rows * c;
        Scratch scratch = Scratch.get();
        float[] xs = Flat.in(x, n, scratch, 0);
        float[] douts = Flat.in(dout, n, scratch, 1);
        float[] dxs = Flat.in(dx, n, scratch, 2);
        float[] normed = scratch.floats(3, n); // (x - mean) * rstd
        float[] scaled = scratch.floats(4, n); // dout * weight
        float[] stat = floats(stats);
        int so = start(stats);
        for (int r = 0; r < rows; r++) {
            Arrays.fill(normed, r * c, r * c + c, stat[so + 2 * r]);
            Arrays.fill(products, r * c, r * c + c, stat[so + 2 * r + 1]);
        }
        for (int i = 0; i < n; i++) {
            normed[i] = (xs[i] - normed[i]) * products[i];
        }
        for (int i = 0; i < n; i++) {
            products[i] = douts[i] * normed[i];
        }
        fill(scaled, weight, rows, c);
        for (int i = 0; i < n; i++) {
            scaled[i] *= douts[i];
        }
        for (int r = 0; r < rows; r++) {
            int o = r * c;
            float a = VectorMath.sum(scaled, o, c) / c;
            float b = VectorMath.dot(scaled, o, normed, o, c) / c;
            float rstd = stat[so + 2 * r + 1];
            for (int j = o; j < o + c; j++) {
                dxs[j] += rstd * (scaled[j] - a - normed[j] * b);
            }
        }
        Flat.store(dxs, dx, n);
    }

    @Override
    public void attention(
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
        Scratch.get()
                .shortAttention()
                .forward(qkv, qo, out, oo, stats, so, dropout, firstSequence, batch, t, heads, headSize);
    }

    @Override
    public void attentionGrad(
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
        Scratch.get()
                .shortAttention()
                .backward(
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
    }

    /** Each row of rows (rows, c) = the vector. */
    private static void fill(float[] rows, Tensor vector, int count, int c) {
        Flat.fillRows(floats(vector), start(vector), rows, 0, count, c);
    }
}
