package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.QuantizeRowsOp;
import io.github.drakegpt.ops.QuantizeWeightsOp;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Tensor;

/**
 * Rounding in the training of quantized models, whose results are floats with few different values: the definition of
 * its bits, and what machines without native code compute.
 */
class JavaQuantization {
    /** Minimum divisor of quantization, as in the original code. */
    static final float SMALLEST_SCALE = 1e-5f;

    /** Added and subtracted again, it rounds numbers below 2^22 to integers, ties to even. */
    static final float ROUNDING = 0x1.8p23f;

    void quantizeWeights(QuantizeWeightsOp op) {
        int n = op.each();
        float[] ws = floats(op.w());
        float[] qs = floats(op.q());
        float strength = strength(op.strength());
        for (int m = 0; m < op.matrices(); m++) {
            int wo = start(op.w()) + m * n;
            int qo = start(op.q()) + m * n;
            float mean = (float) (VectorMath.sumInDouble(ws, wo, n) / n);
            float size = (float) (VectorMath.sumMagnitudesInDouble(ws, wo, n) / n);
            float scale = 1 / Math.max(size, SMALLEST_SCALE);
            float one = 1 / scale;
            for (int i = 0; i < n; i++) {
                float w = ws[wo + i];
                float rounded;
                if (op.quantization() == Quantization.BITNET) {
                    float centred = w - mean;
                    rounded = centred < 0 ? -size : centred >= 0 ? size : centred; // NaN stays
                } else {
                    rounded = Math.max(-1f, Math.min(1f, w * scale + ROUNDING - ROUNDING)) * one;
                }
                qs[qo + i] = blend(w, rounded, strength);
            }
        }
    }

    void quantizeRows(QuantizeRowsOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        float[] xs = floats(op.x());
        float[] qs = floats(op.q());
        float strength = strength(op.strength());
        float[] magnitudes = Scratch.get().floats(0, c);
        for (int r = 0; r < rows; r++) {
            int xo = start(op.x()) + r * c;
            int qo = start(op.q()) + r * c;
            for (int j = 0; j < c; j++) {
                magnitudes[j] = Math.abs(xs[xo + j]);
            }
            float scale = 127 / Math.max(VectorMath.max(magnitudes, 0, c), SMALLEST_SCALE);
            for (int j = 0; j < c; j++) {
                float x = xs[xo + j];
                qs[qo + j] = blend(x, (x * scale + ROUNDING - ROUNDING) / scale, strength);
            }
        }
    }

    /** How far values are rounded: 1 for fully. */
    static float strength(Tensor strength) {
        return strength == null ? 1 : floats(strength)[start(strength)];
    }

    private static float blend(float exact, float rounded, float strength) {
        return strength < 1 ? Math.fma(strength, rounded - exact, exact) : rounded;
    }
}
