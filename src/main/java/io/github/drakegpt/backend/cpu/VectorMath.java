package io.github.drakegpt.backend.cpu;

/** Loops over arrays, written so that the JIT compiler vectorizes them, or at least keeps the pipelines full. */
final class VectorMath {
    /** HUGE * HUGE * Float.MIN_VALUE > 1. */
    static final float HUGE = 1e30f;

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
            float rounded = v * LOG2_E + ROUND;
            float k = rounded - ROUND;
            float f = v - k * LN_2_HIGH - k * LN_2_LOW;
            float p = 1.9875691500e-4f;
            p = p * f + 1.3981999507e-3f;
            p = p * f + 8.3334519073e-3f;
            p = p * f + 4.1665795894e-2f;
            p = p * f + 1.6666665459e-1f;
            p = p * f + 5.0000001201e-1f;
            x[o + i] = p * f * f + f + 1f;
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

    /** y[i] += x[i] for i in [from, to). */
    static void add(float[] y, float[] x, int from, int to) {
        for (int i = from; i < to; i++) {
            y[i] += x[i];
        }
    }

    /** y[i] -= x[i] for i in [from, to). */
    static void subtract(float[] y, float[] x, int from, int to) {
        for (int i = from; i < to; i++) {
            y[i] -= x[i];
        }
    }

    /** y[i] *= x[i] for i in [from, to). */
    static void multiply(float[] y, float[] x, int from, int to) {
        for (int i = from; i < to; i++) {
            y[i] *= x[i];
        }
    }

    /** y[i] = max(y[i], x[i]) for i in [from, to). */
    static void maximum(float[] y, float[] x, int from, int to) {
        for (int i = from; i < to; i++) {
            y[i] = Math.max(y[i], x[i]);
        }
    }

    /** y[i] *= factor. */
    static void multiply(float[] y, float factor, int n) {
        for (int i = 0; i < n; i++) {
            y[i] *= factor;
        }
    }

    /** y[i] = a[i] + b[i]. */
    static void add(float[] a, float[] b, float[] y, int n) {
        for (int i = 0; i < n; i++) {
            y[i] = a[i] + b[i];
        }
    }

    /** y[i] = a[i] - b[i]. */
    static void subtract(float[] a, float[] b, float[] y, int n) {
        for (int i = 0; i < n; i++) {
            y[i] = a[i] - b[i];
        }
    }

    /** Sum of a[i] * b[i]: four independent sums, since each addition to a single one would wait for the last. */
    static float dot(float[] a, int ao, float[] b, int bo, int n) {
        float s0 = 0;
        float s1 = 0;
        float s2 = 0;
        float s3 = 0;
        int i = 0;
        for (; i < n - 3; i += 4) {
            s0 += a[ao + i] * b[bo + i];
            s1 += a[ao + i + 1] * b[bo + i + 1];
            s2 += a[ao + i + 2] * b[bo + i + 2];
            s3 += a[ao + i + 3] * b[bo + i + 3];
        }
        for (; i < n; i++) {
            s0 += a[ao + i] * b[bo + i];
        }
        return s0 + s1 + (s2 + s3);
    }

    static float sum(float[] a, int o, int n) {
        float s0 = 0;
        float s1 = 0;
        float s2 = 0;
        float s3 = 0;
        int i = 0;
        for (; i < n - 3; i += 4) {
            s0 += a[o + i];
            s1 += a[o + i + 1];
            s2 += a[o + i + 2];
            s3 += a[o + i + 3];
        }
        for (; i < n; i++) {
            s0 += a[o + i];
        }
        return s0 + s1 + (s2 + s3);
    }

    /** The sum in float64: four independent sums, since each addition to a single one would wait for the last. */
    static double sumInDouble(float[] a, int o, int n) {
        double s0 = 0;
        double s1 = 0;
        double s2 = 0;
        double s3 = 0;
        int i = 0;
        for (; i < n - 3; i += 4) {
            s0 += a[o + i];
            s1 += a[o + i + 1];
            s2 += a[o + i + 2];
            s3 += a[o + i + 3];
        }
        for (; i < n; i++) {
            s0 += a[o + i];
        }
        return s0 + s1 + (s2 + s3);
    }

    /** The same of the magnitudes. */
    static double sumMagnitudesInDouble(float[] a, int o, int n) {
        double s0 = 0;
        double s1 = 0;
        double s2 = 0;
        double s3 = 0;
        int i = 0;
        for (; i < n - 3; i += 4) {
            s0 += Math.abs(a[o + i]);
            s1 += Math.abs(a[o + i + 1]);
            s2 += Math.abs(a[o + i + 2]);
            s3 += Math.abs(a[o + i + 3]);
        }
        for (; i < n; i++) {
            s0 += Math.abs(a[o + i]);
        }
        return s0 + s1 + (s2 + s3);
    }

    /** The largest of n numbers; NaN if there is one with a positive sign. */
    static float max(float[] a, int o, int n) {
        int max = Integer.MIN_VALUE;
        for (int i = 0; i < n; i++) {
            max = Math.max(max, orderedBits(Float.floatToRawIntBits(a[o + i])));
        }
        return Float.intBitsToFloat(orderedBits(max));
    }

    /**
     * Maps the bits of a float to an int of the same order, and back, because the maximum of integers needs no branch.
     * For negative floats the order is reversed, so all bits except the sign are inverted.
     */
    private static int orderedBits(int bits) {
        return bits ^ bits >> 31 & 0x7FFFFFFF;
    }

    /** out (columns) = the sum of the rows times their weights. Eight columns at a time stay in registers over all rows. */
    static void weightedSum(float[] weights, Matrix rows, float[] out, int oo) {
        int d = 0;
        for (; d < rows.columns - 7; d += 8) {
            float s0 = 0;
            float s1 = 0;
            float s2 = 0;
            float s3 = 0;
            float s4 = 0;
            float s5 = 0;
            float s6 = 0;
            float s7 = 0;
            float[] x = rows.array;
            for (int i = 0; i < rows.rows; i++) {
                float w = weights[i];
                int r = rows.offset + i * rows.stride + d;
                s0 += w * x[r];
                s1 += w * x[r + 1];
                s2 += w * x[r + 2];
                s3 += w * x[r + 3];
                s4 += w * x[r + 4];
                s5 += w * x[r + 5];
                s6 += w * x[r + 6];
                s7 += w * x[r + 7];
            }
            int o = oo + d;
            out[o] = s0;
            out[o + 1] = s1;
            out[o + 2] = s2;
            out[o + 3] = s3;
            out[o + 4] = s4;
            out[o + 5] = s5;
            out[o + 6] = s6;
            out[o + 7] = s7;
        }
        for (; d < rows.columns; d++) {
            float s = 0;
            for (int i = 0; i < rows.rows; i++) {
                s += weights[i] * rows.array[rows.offset + i * rows.stride + d];
            }
            out[oo + d] = s;
        }
    }
}
