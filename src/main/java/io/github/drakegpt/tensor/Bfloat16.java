package io.github.drakegpt.tensor;

/**
 * bfloat16: the upper half of an IEEE 754 binary32, that is a sign, 8 bits of exponent and 7 of mantissa. Java has no
 * such type; a {@code char} holds its bits.
 */
public final class Bfloat16 {
    private static final int HALF = 1 << 15;
    private static final char NAN = 0x7FFF;

    private Bfloat16() {}

    /**
     * Rounds to nearest, ties to even.
     *
     * @param value any; out of range it becomes infinite, NaN becomes CUDA's NaN
     * @return its 16 bits
     */
    public static char of(float value) {
        if (Float.isNaN(value)) {
            return NAN;
        }
        int bits = Float.floatToRawIntBits(value);
        int odd = bits >>> 16 & 1;
        return (char) (bits + HALF - 1 + odd >>> 16);
    }

    /**
     * The number that the bits stand for.
     *
     * @param bits 16 of them
     * @return the same number, exactly
     */
    public static float toFloat(char bits) {
        return Float.intBitsToFloat(bits << 16);
    }
}
