package io.github.drakegpt;

import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The weight (out, in) of a linear layer, rounded to -1, 0 and 1 in two bits each, or to -1 and 1 in one bit each, with one
 * scale: a weight is scale times its value. {@link Device#load} makes a layer of it.
 *
 * <p>Immutable; any number of threads may use it.
 */
public final class TernaryMatrix {
    private static final int MAGIC = 0x31575444; // the characters DTW1
    private static final int HEADER_BYTES = 20;

    /** Weights in a byte of Hugging Face's layout. */
    private static final int LANES = 4;

    private final PackedMatrix packed;

    private TernaryMatrix(PackedMatrix packed) {
        this.packed = packed;
    }

    // ---------------------------------------------------------------------------------------------- rounding

    /**
     * Rounds to -1, 0 and 1: w / mean(|w|) to the nearest, ties to even, with scale mean(|w|). Ma et al., "The Era of 1-bit
     * LLMs: All Large Language Models are in 1.58 Bits", 2024.
     *
     * @param weights (out, in), row-major; copied
     * @param out rows, 1 or more
     * @param in columns, from 1 to 2,097,152
     * @return the matrix, of two bits a weight
     * @throws IllegalArgumentException if the sizes do not fit, or a weight is NaN or infinite
     */
    public static TernaryMatrix quantize(float[] weights, int out, int in) {
        return quantize(Quantization.B158, weights, out, in);
    }

    /**
     * Rounds to -1 and 1: the sign of w - mean(w), 1 for a weight that equals the mean, with scale mean(|w|). Wang et al.,
     * "BitNet: Scaling 1-bit Transformers for Large Language Models", 2023.
     *
     * @param weights (out, in), row-major; copied
     * @param out rows, 1 or more
     * @param in columns, from 1 to 2,097,152
     * @return the matrix, of one bit a weight
     * @throws IllegalArgumentException if the sizes do not fit, a weight is NaN or infinite, or all are 0
     */
    public static TernaryMatrix quantizeToOneBit(float[] weights, int out, int in) {
        return quantize(Quantization.BITNET, weights, out, in);
    }

    private static TernaryMatrix quantize(Quantization quantization, float[] weights, int out, int in) {
        requireElements(weights.length, "weights", (long) positive(out) * positive(in), out, in);
        try {
            return new TernaryMatrix(PackedMatrix.pack(quantization, weights, 0, out, in, 1));
        } catch (IllegalArgumentException e) {
            throw refused(out, in, e);
        }
    }

    // ---------------------------------------------------------------------------------------------- the matrix

    /**
     * Rows.
     *
     * @return the number of outputs
     */
    public int out() {
        return packed.out();
    }

    /**
     * Columns.
     *
     * @return the number of inputs
     */
    public int in() {
        return packed.in();
    }

    /**
     * Size of a weight.
     *
     * @return 2 where weights are -1, 0 or 1; 1 where they are -1 or 1
     */
    public int bits() {
        return PackedMatrix.bits(packed.quantization());
    }

    /**
     * What the values are multiplied by.
     *
     * @return a finite number above 0
     */
    public float scale() {
        return packed.scales()[0];
    }

    /**
     * One weight, without the scale.
     *
     * @param row from 0 to out - 1
     * @param column from 0 to in - 1
     * @return -1, 0 or 1
     * @throws IndexOutOfBoundsException if there is no such weight
     */
    public int value(int row, int column) {
        if (row < 0 || row >= out() || column < 0 || column >= in()) {
            throw new IndexOutOfBoundsException(
                    "A matrix (" + out() + ", " + in() + ") has no weight (" + row + ", " + column + ").");
        }
        return packed.value(row, column);
    }

    /**
     * All weights, each its value times the scale.
     *
     * @return a new array (out, in), row-major
     */
    public float[] toFloats() {
        float[] weights = new float[Math.multiplyExact(out(), in())];
        for (int i = 0; i < weights.length; i++) {
            weights[i] = scale() * packed.value(i / in(), i % in());
        }
        return weights;
    }

    PackedMatrix packed() {
        return packed;
    }

    // ---------------------------------------------------------------------------------------------- as bytes

    /**
     * The matrix as bytes, for {@link #fromBytes}: in little endian the characters DTW1, bits, out and in as int, the scale
     * as float, then the packed weights.
     *
     * @return a new array
     */
    public byte[] toBytes() {
        return ByteBuffer.allocate(HEADER_BYTES + packed.codes().length)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(MAGIC)
                .putInt(bits())
                .putInt(out())
                .putInt(in())
                .putFloat(scale())
                .put(packed.codes())
                .array();
    }

    /**
     * Reads what {@link #toBytes} wrote.
     *
     * @param bytes all of them; copied
     * @return the same matrix
     * @throws IllegalArgumentException if the bytes are not those of a matrix
     */
    public static TernaryMatrix fromBytes(byte[] bytes) {
        ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        if (bytes.length < HEADER_BYTES || in.getInt() != MAGIC) {
            throw new IllegalArgumentException("These " + bytes.length
                    + " bytes do not begin as those of a matrix; give what TernaryMatrix.toBytes wrote.");
        }
        int bits = in.getInt();
        if (bits != 1 && bits != 2) {
            throw new IllegalArgumentException(
                    "A matrix of " + bits + " bits a weight is not possible; give what TernaryMatrix.toBytes wrote.");
        }
        int rows = positive(in.getInt());
        int columns = positive(in.getInt());
        float scale = in.getFloat();
        byte[] codes = new byte[in.remaining()];
        in.get(codes);
        Quantization quantization = bits == 1 ? Quantization.BITNET : Quantization.B158;
        try {
            return new TernaryMatrix(new PackedMatrix(quantization, rows, columns, codes, new float[] {scale}));
        } catch (IllegalArgumentException e) {
            throw refused(rows, columns, e);
        }
    }

    // ---------------------------------------------------------------------------------------------- Hugging Face

    /**
     * Reads a tensor {@code weight} of a BitNet model of Hugging Face's transformers.
     *
     * @param weight its U8 elements (out / 4, in), row-major: bits 2 i and 2 i + 1 of row r hold the value of row r + i *
     *     out / 4, plus 1
     * @param out rows of the matrix, a multiple of 4
     * @param in columns of the matrix
     * @param scale what the values are multiplied by: the model's {@code weight_scale} where its configuration has
     *     {@code linear_class: autobitlinear}, otherwise 1 / {@code weight_scale}
     * @return the matrix, of two bits a weight
     * @throws IllegalArgumentException if the sizes do not fit, or a weight or the scale is not possible
     */
    public static TernaryMatrix fromHuggingFace(byte[] weight, int out, int in, float scale) {
        int lane = Math.multiplyExact(quarter(positive(out)), positive(in));
        requireElements(weight.length, "bytes", (long) out / LANES * in, out, in);
        byte[] values = new byte[Math.multiplyExact(out, in)];
        for (int i = 0; i < values.length; i++) {
            values[i] = (byte) ((weight[i % lane] >> 2 * (i / lane) & 3) - 1);
        }
        try {
            return new TernaryMatrix(PackedMatrix.of(Quantization.B158, out, in, values, scale));
        } catch (IllegalArgumentException e) {
            throw refused(out, in, e);
        }
    }

    /**
     * The tensor {@code weight} for a BitNet model of Hugging Face's transformers, as {@link #fromHuggingFace} describes it.
     * Its {@code weight_scale} is {@link #scale} or 1 / {@link #scale}.
     *
     * @return U8 elements (out / 4, in), row-major
     * @throws IllegalArgumentException if the number of rows is not a multiple of 4
     */
    public byte[] toHuggingFace() {
        int lane = quarter(out()) * in();
        byte[] weight = new byte[lane];
        for (int i = 0; i < LANES * lane; i++) {
            weight[i % lane] |= (byte) (packed.value(i / in(), i % in()) + 1 << 2 * (i / lane));
        }
        return weight;
    }

    private static int quarter(int out) {
        if (out % LANES != 0) {
            throw new IllegalArgumentException("Hugging Face's layout has rows in fours, and " + out
                    + " is not a multiple of 4; add rows of zeros.");
        }
        return out / LANES;
    }

    // ---------------------------------------------------------------------------------------------- checks

    private static int positive(int size) {
        if (size < 1) {
            throw new IllegalArgumentException(
                    "A matrix of " + size + " rows or columns is not possible; give 1 or more.");
        }
        return size;
    }

    private static void requireElements(int length, String elements, long needed, int out, int in) {
        if (length != needed) {
            throw new IllegalArgumentException(length + " " + elements + " were given for a matrix (" + out + ", " + in
                    + "); give " + needed + ".");
        }
    }

    private static IllegalArgumentException refused(int out, int in, IllegalArgumentException why) {
        return new IllegalArgumentException(
                "A matrix (" + out + ", " + in + ") cannot be made: " + why.getMessage() + ".", why);
    }

    /** Sizes and bits, such as {@code (64, 32) of 2 bits}. */
    @Override
    public String toString() {
        return "(" + out() + ", " + in() + ") of " + bits() + (bits() == 1 ? " bit" : " bits");
    }
}
