package io.github.drakegpt.backend.cpu;

import java.util.Arrays;

/** Loops over arrays, written so that the JIT compiler vectorizes them, or at least keeps the pipelines full. */
final class VectorMath {
    /** Sums side by side in a sum. */
    private static final int LANES = 16;

    private static final float LOG2_E = 1.44269504f;
    // ln 2 in two parts, the first with few enough bits that multiples of it are exact
    private static final float LN_2_HIGH = 0.693359375f;
    private static final float LN_2_LOW = -2.12194440e-4f;
    /** Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the mantissa. */
    private static final float ROUND = 12582912f;

    private static final float MIN_EXPONENT = -87f;

    private VectorMath() {}

    /**
     * x = e^x for x up to 88, in place; below -87 it gives e^-87 (1.6e-38), and NaN stays NaN. Relative error below
     * 2e-7. Coefficients of Cephes' expf (Moshier). The two loops are separate because the compiler vectorizes only the
     * first, and scratch is indexed like x because loops over arrays at different offsets are not vectorized.
     */
    static void exp(float[] x, int o, int n, float[] scratch) {
        for (int i = 0; i < n; i++) {
            float v = Math.max(x[o + i], MIN_EXPONENT);
            float rounded = Math.fma(LOG2_E, v, ROUND);
            float k = rounded - ROUND;
            float f = Math.fma(-LN_2_LOW, k, Math.fma(-LN_2_HIGH, k, v));
            float p = Math.fma(1.9875691500e-4f, f, 1.3981999507e-3f);
            p = Math.fma(p, f, 8.3334519073e-3f);
            p = Math.fma(p, f, 4.1665795894e-2f);
            p = Math.fma(p, f, 1.6666665459e-1f);
            p = Math.fma(p, f, 5.0000001201e-1f);
            x[o + i] = Math.fma(p * f, f, f) + 1f;
            scratch[o + i] = rounded;
        }
        for (int i = 0; i < n; i++) {
            int exponent = Float.floatToRawIntBits(scratch[o + i]) << 23;
            x[o + i] = Float.intBitsToFloat(Float.floatToRawIntBits(x[o + i]) + exponent);
        }
    }

    /** Adds n elements of x, from xo on, to those of y. */
    static void add(float[] y, int yo, float[] x, int xo, int n) {
        for (int i = 0; i < n; i++) {
            y[yo + i] += x[xo + i];
        }
    }

    /**
     * The sum of a[i] * b[i]: {@link #LANES} sums side by side, element i in sum i % LANES, since each addition to a
     * single one would wait for the last; at the end they are added up by halves.
     */
    static float dot(float[] a, int ao, float[] b, int bo, int n) {
        float[] lanes = Scratch.get().floats(8, LANES);
        Arrays.fill(lanes, 0, LANES, 0f);
        int i = 0;
        for (; i + LANES <= n; i += LANES) {
            for (int l = 0; l < LANES; l++) {
                lanes[l] = Math.fma(a[ao + i + l], b[bo + i + l], lanes[l]);
            }
        }
        for (; i < n; i++) {
            lanes[i % LANES] = Math.fma(a[ao + i], b[bo + i], lanes[i % LANES]);
        }
        return total(lanes);
    }

    /** The sum of n elements, in the order of {@link #dot}. */
    static float sum(float[] a, int o, int n) {
        float[] lanes = Scratch.get().floats(8, LANES);
        Arrays.fill(lanes, 0, LANES, 0f);
        int i = 0;
        for (; i + LANES <= n; i += LANES) {
            for (int l = 0; l < LANES; l++) {
                lanes[l] += a[o + i + l];
            }
        }
        for (; i < n; i++) {
            lanes[i % LANES] += a[o + i];
        }
        return total(lanes);
    }

    private static float total(float[] lanes) {
        for (int half = LANES / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; i++) {
                lanes[i] += lanes[i + half];
            }
        }
        return lanes[0];
    }

    /** y[i] = x * row[i] + y[i], rounded once, for i < n. */
    static void addProduct(float x, float[] row, float[] y, int n) {
        for (int i = 0; i < n; i++) {
            y[i] = Math.fma(x, row[i], y[i]);
        }
    }

    /** The sum in float64, in the order of {@link #dot}. */
    static double sumInDouble(float[] a, int o, int n) {
        double[] lanes = Scratch.get().doubles(LANES);
        Arrays.fill(lanes, 0, LANES, 0);
        for (int i = 0; i < n; i++) {
            lanes[i % LANES] += a[o + i];
        }
        return total(lanes);
    }

    /** The same of the magnitudes. */
    static double sumMagnitudesInDouble(float[] a, int o, int n) {
        double[] lanes = Scratch.get().doubles(LANES);
        Arrays.fill(lanes, 0, LANES, 0);
        for (int i = 0; i < n; i++) {
            lanes[i % LANES] += Math.abs(a[o + i]);
        }
        return total(lanes);
    }

    private static double total(double[] lanes) {
        for (int half = LANES / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; i++) {
                lanes[i] += lanes[i + half];
            }
        }
        return lanes[0];
    }

    /** The largest of n numbers, or NaN where there is one. */
    static float max(float[] a, int o, int n) {
        float max = Float.NEGATIVE_INFINITY;
        for (int i = 0; i < n; i++) {
            max = Math.max(max, a[o + i]);
        }
        return max;
    }
}
