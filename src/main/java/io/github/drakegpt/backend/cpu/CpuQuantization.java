package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.QuantizeRowsOp;
import io.github.drakegpt.ops.QuantizeWeightsOp;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Tensor;

/** Rounding in the training of quantized models: the results are floats with few different values. */
final class CpuQuantization {
    /** Minimum divisor of quantization, as in the original code. */
    static final float SMALLEST_SCALE = 1e-5f;

    /** Added and subtracted again, it rounds numbers below 2^22 to integers, ties to even, in vector instructions. */
    static final float ROUNDING = 0x1.8p23f;

    private CpuQuantization() {}

    static void quantizeWeights(QuantizeWeightsOp op) {
        int n = op.each();
        int total = op.matrices() * n;
        Scratch scratch = Scratch.get();
        float[] ws = Flat.in(op.w(), total, scratch, 0);
        float[] qs = Flat.out(op.q(), total, scratch, 1);
        for (int from = 0; from < total; from += n) {
            float mean = (float) (VectorMath.sumInDouble(ws, from, n) / n);
            float size = (float) (VectorMath.sumMagnitudesInDouble(ws, from, n) / n);
            if (op.quantization() == Quantization.BITNET) {
                for (int i = from; i < from + n; i++) {
                    // -1, 0 or 1, then 1 for 0: vectorized, unlike a comparison; NaN stays
                    float sign = Math.max(-1f, Math.min(1f, (ws[i] - mean) * VectorMath.HUGE * VectorMath.HUGE));
                    qs[i] = (sign + 1 - sign * sign) * size;
                }
            } else {
                float scale = 1 / Math.max(size, SMALLEST_SCALE);
                float one = 1 / scale;
                for (int i = from; i < from + n; i++) {
                    float rounded = ws[i] * scale + ROUNDING - ROUNDING;
                    qs[i] = Math.max(-1f, Math.min(1f, rounded)) * one;
                }
            }
        }
        blend(op.strength(), ws, qs, total);
        Flat.store(qs, op.q(), total);
    }

    static void quantizeRows(QuantizeRowsOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        Scratch scratch = Scratch.get();
        float[] xs = Flat.in(op.x(), rows * c, scratch, 0);
        float[] qs = Flat.out(op.q(), rows * c, scratch, 1);
        float[] magnitudes = scratch.floats(2, c);
        for (int r = 0; r < rows; r++) {
            int o = r * c;
            for (int j = 0; j < c; j++) {
                magnitudes[j] = Math.abs(xs[o + j]);
            }
            float scale = 127 / Math.max(VectorMath.max(magnitudes, 0, c), SMALLEST_SCALE);
            for (int j = o; j < o + c; j++) {
                qs[j] = (xs[j] * scale + ROUNDING - ROUNDING) / scale;
            }
        }
        blend(op.strength(), xs, qs, rows * c);
        Flat.store(qs, op.q(), rows * c);
    }

    /** rounded = exact + strength * (rounded - exact), where the strength is below 1. */
    private static void blend(Tensor strength, float[] exact, float[] rounded, int n) {
        float s = strength == null ? 1 : floats(strength)[start(strength)];
        if (s < 1) {
            for (int i = 0; i < n; i++) {
                rounded[i] = exact[i] + s * (rounded[i] - exact[i]);
            }
        }
    }
}
