package io.github.drakegpt.checkpoint;

/**
 * IEEE 754 binary16: a sign, 5 bits of exponent and 10 of mantissa. Java before 20 has no conversions; a {@code short} holds
 * its bits.
 */
final class Float16 {
    private static final int MANTISSA_BITS = 10;
    private static final int MANTISSA = (1 << MANTISSA_BITS) - 1;
    private static final int EXPONENT_BIAS = 15;
    private static final int INFINITY = 0x7C00;
    private static final int QUIET = 0x0200;
    /** The difference of the mantissas of binary32 and binary16, in bits. */
    private static final int DROPPED = 13;
    /** The least number that rounds to infinity: half way from the largest one to the power of two above it. */
    private static final float TOO_LARGE = 65520f;
    /** The least number that is not subnormal. */
    private static final float SMALLEST_NORMAL = 0x1p-14f;

    private Float16() {}

    /** The number that the bits stand for, exactly. */
    static float toFloat(short bits) {
        int exponent = bits >> MANTISSA_BITS & 0x1F;
        int mantissa = bits & MANTISSA;
        int sign = (bits & 0x8000) << 16;
        if (exponent == 0x1F) {
            return Float.intBitsToFloat(sign | 0x7F800000 | mantissa << DROPPED);
        }
        float magnitude = exponent == 0
                ? mantissa * 0x1p-24f
                : Float.intBitsToFloat(exponent - EXPONENT_BIAS + 127 << 23 | mantissa << DROPPED);
        return Float.intBitsToFloat(sign | Float.floatToRawIntBits(magnitude));
    }

    /** Rounds to nearest, ties to even; beyond 65519 lies infinity. */
    static short of(float value) {
        int sign = Float.floatToRawIntBits(value) >>> 16 & 0x8000;
        float magnitude = Math.abs(value);
        if (Float.isNaN(value)) {
            return (short) (sign | INFINITY | QUIET);
        }
        if (magnitude >= TOO_LARGE) {
            return (short) (sign | INFINITY);
        }
        if (magnitude < SMALLEST_NORMAL) {
            return (short) (sign | (int) Math.rint(magnitude * 0x1p24)); // multiples of 2^-24
        }
        int bits = Float.floatToRawIntBits(magnitude);
        int odd = bits >>> DROPPED & 1;
        int rounded = bits + (1 << DROPPED - 1) - 1 + odd >>> DROPPED; // may carry into the exponent
        return (short) (sign | rounded - (127 - EXPONENT_BIAS << MANTISSA_BITS));
    }
}
