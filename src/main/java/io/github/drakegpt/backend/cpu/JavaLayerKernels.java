package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;

/** Plain Java with long loops that the JIT compiler vectorizes. */
final class JavaLayerKernels implements LayerKernels {
    @Override
    public void layerNorm(LayerNormOp op, int rows) {
        int c = op.columns();
        int n = rows * c;
        Scratch scratch = Scratch.get();
        float[] xs = Flat.in(op.x(), n, scratch, 0);
        float[] outs = Flat.out(op.out(), n, scratch, 1);
        float[] scales = scratch.floats(2, n);
        float[] weights = scratch.floats(3, n);
        float[] biases = scratch.floats(4, n);
        float[] stat = floats(op.stats());
        int so = start(op.stats());
        fill(weights, op.weight(), rows, c);
        fill(biases, op.bias(), rows, c);
        for (int r = 0; r < rows; r++) {
            float mean = VectorMath.sum(xs, r * c, c) / c;
            stat[so + 2 * r] = mean;
            Arrays.fill(scales, r * c, r * c + c, mean);
        }
        VectorMath.subtract(xs, scales, outs, n);
        for (int r = 0; r < rows; r++) {
            float variance = VectorMath.dot(outs, r * c, outs, r * c, c) / c;
            float rstd = (float) (1 / Math.sqrt(variance + NORM_EPS));
            stat[so + 2 * r + 1] = rstd;
            Arrays.fill(scales, r * c, r * c + c, rstd);
        }
        for (int i = 0; i < n; i++) {
            outs[i] = outs[i] * scales[i] * weights[i] + biases[i];
        }
        Flat.store(outs, op.out(), n);
    }

    @Override
    public void layerNormGrad(LayerNormGradOp op, float[] products, int rows) {
        int c = op.columns();
        int n = rows * c;
        Scratch scratch = Scratch.get();
        float[] xs = Flat.in(op.norm().x(), n, scratch, 0);
        float[] douts = Flat.in(op.dout(), n, scratch, 1);
        float[] dxs = Flat.in(op.dx(), n, scratch, 2);
        float[] normed = scratch.floats(3, n); // (x - mean) * rstd
        float[] scaled = scratch.floats(4, n); // dout * weight
        float[] stat = floats(op.norm().stats());
        int so = start(op.norm().stats());
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
        fill(scaled, op.norm().weight(), rows, c);
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
        Flat.store(dxs, op.dx(), n);
    }

    @Override
    public void attention(AttentionOp op, Pass pass) {
        Scratch.get().shortAttention().forward(op, pass);
    }

    @Override
    public void attentionGrad(AttentionGradOp op, Pass pass) {
        Scratch.get().shortAttention().backward(op, pass);
    }

    /** Each row of rows (rows, c) = the vector. */
    private static void fill(float[] rows, Tensor vector, int count, int c) {
        Flat.fillRows(floats(vector), start(vector), rows, 0, count, c);
    }
}
