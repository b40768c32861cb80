package io.github.drakegpt.quant;

import java.util.Arrays;

/**
 * The weight of a linear layer in one or two bits an element, in the layout that CPU and GPU multiply with.
 *
 * <p>A weight is a code c: in two bits -1, 0, 1 are 0, 1, 2 ({@link Quantization#B158}), in one bit -1, 1 are 0, 1
 * ({@link Quantization#BITNET}); a row's weights have one scale, so that weight = scale * (c - 1) or scale * (2 c - 1).
 *
 * <p>The layout. Rows in tiles of 16, columns in units of 128 (two bits) or 256 (one bit), both padded with code 0; a
 * unit of a tile is 512 bytes. With row = 16 r + 8 s + g and column = 128 / 256 u + 128 v + 32 t + 16 h + 4 j + b,
 * where s, h are 0 or 1, g is below 8, t, j, b below 4 and v is 0 (in one bit 0 or 1), an element is in byte
 * {@code ((((r * units + u) * 4 + t) * 8 + g) * 4 + j) * 4 + b}, whose lowest bit is bit number
 * {@code bits * (4 v + 2 h + s)}.
 *
 * <p>Reason: 16 bytes from t, g on, read as four 32-bit words w[j], are the operands of one of the 32 lanes of a warp
 * for four times {@code mma.sync.m16n8k32} (PTX ISA, matrix fragments for 8-bit types): register i of its part of the
 * weights is {@code w[j] >> bits * (4 v + i) & mask}, and the activations that belong to it are consecutive bytes, 16
 * for each h. On a CPU the same shift and mask of 64 consecutive bytes give four rows of 16 columns for one byte-wise
 * product with 16 activations.
 *
 * @param quantization BITNET or B158
 * @param out rows, without padding
 * @param in columns, without padding
 * @param codes {@link #bytes} of them
 * @param scales one for each of the equally high matrices that lie one below the other; finite and above 0
 */
public record PackedMatrix(Quantization quantization, int out, int in, byte[] codes, float[] scales) {
    /** Rows of a tile. */
    public static final int TILE_ROWS = 16;
    /** Bytes of a unit of a tile. */
    public static final int UNIT_BYTES = 512;

    /**
     * More columns than this are refused. A sum of products of codes and 8-bit activations is at most 2 * 127 * columns
     * in magnitude, which leaves a factor of four below the limit of 32 bits.
     */
    public static final int MOST_COLUMNS = 1 << 21;

    private static final float SMALLEST_SCALE = 1e-5f; // as in QuantizeWeightsOp

    /**
     * Checks sizes, codes and scales.
     *
     * @throws IllegalArgumentException in one sentence that says what is wrong
     */
    public PackedMatrix {
        if (in > MOST_COLUMNS) {
            throw new IllegalArgumentException("a row of " + in + " weights is longer than the " + MOST_COLUMNS
                    + " whose sums are sure to fit 32 bits");
        }
        long wanted = bytes(quantization, out, in);
        if (codes.length != wanted) {
            throw new IllegalArgumentException(
                    "it has " + codes.length + " bytes of codes where (" + out + ", " + in + ") takes " + wanted);
        }
        if (scales.length < 1 || out % scales.length != 0) {
            throw new IllegalArgumentException(scales.length + " scales cannot be shared among " + out + " rows");
        }
        for (float scale : scales) {
            if (!(scale > 0) || Float.isInfinite(scale)) {
                throw new IllegalArgumentException("its scale " + scale + " is not a finite number above 0");
            }
        }
        if (quantization == Quantization.B158) {
            for (byte four : codes) {
                if ((four & four >> 1 & 0x55) != 0) {
                    throw new IllegalArgumentException("it has the code 3, which stands for no weight");
                }
            }
        }
    }

    /** The name of the layout: tile rows, unit columns and bits. */
    public static String layout(Quantization quantization) {
        return "tiles-" + TILE_ROWS + "x" + unitColumns(quantization) + "-" + bits(quantization) + "bit";
    }

    /** Bits of a weight. */
    public static int bits(Quantization quantization) {
        return switch (quantization) {
            case BITNET -> 1;
            case B158 -> 2;
            case NONE -> throw new IllegalArgumentException("full precision has no codes");
        };
    }

    /** {@code in} padded to whole units: the length of a row of activations to multiply with. */
    public static int paddedColumns(Quantization quantization, int in) {
        int unit = unitColumns(quantization);
        return (in + unit - 1) / unit * unit;
    }

    /** Bytes of the codes of a matrix (out, in). */
    public static long bytes(Quantization quantization, int out, int in) {
        return (long) tiles(out) * (paddedColumns(quantization, in) / unitColumns(quantization)) * UNIT_BYTES;
    }

    /** Tiles that {@code out} rows take. */
    public static int tiles(int out) {
        return (out + TILE_ROWS - 1) / TILE_ROWS;
    }

    /** Columns of a unit. */
    public static int unitColumns(Quantization quantization) {
        return 256 / bits(quantization);
    }

    /**
     * Rounds and packs weights, those of each matrix as {@link Quantization} defines.
     *
     * @param weights (matrices * rows, in), from {@code from} on
     * @throws IllegalArgumentException if the weights cannot be rounded: one is NaN or infinite, or all are zero with
     *     one bit
     */
    public static PackedMatrix pack(
            Quantization quantization, float[] weights, int from, int out, int in, int matrices) {
        byte[] codes = new byte[Math.toIntExact(bytes(quantization, out, in))];
        float[] scales = new float[matrices];
        int rows = out / matrices;
        for (int m = 0; m < matrices; m++) {
            int first = from + m * rows * in;
            double sum = 0;
            double magnitude = 0;
            for (int i = first; i < first + rows * in; i++) {
                sum += weights[i];
                magnitude += Math.abs(weights[i]);
            }
            if (!Double.isFinite(magnitude)) {
                throw new IllegalArgumentException("it has weights that are NaN or infinite");
            }
            float mean = (float) (sum / (rows * in));
            float size = (float) (magnitude / (rows * in));
            if (quantization == Quantization.BITNET && size == 0) {
                throw new IllegalArgumentException("all its weights are 0, which one bit cannot express");
            }
            float inverse = 1 / Math.max(size, SMALLEST_SCALE);
            scales[m] = quantization == Quantization.BITNET ? size : 1 / inverse;
            for (int i = 0; i < rows * in; i++) {
                float w = weights[first + i];
                int code = quantization == Quantization.BITNET
                        ? (w - mean >= 0 ? 1 : 0)
                        : (int) Math.max(-1, Math.min(1, Math.rint(w * inverse))) + 1;
                int row = m * rows + i / in;
                codes[index(quantization, in, row, i % in)] |= (byte) (code << shift(quantization, row, i % in));
            }
        }
        return new PackedMatrix(quantization, out, in, codes, scales);
    }

    /**
     * Packs weights that are rounded already.
     *
     * @param values (out, in): -1, 0 (not with one bit) or 1
     * @param scale of all of them
     * @throws IllegalArgumentException if a value or the scale is not possible
     */
    public static PackedMatrix of(Quantization quantization, int out, int in, byte[] values, float scale) {
        byte[] codes = new byte[Math.toIntExact(bytes(quantization, out, in))];
        int step = quantization == Quantization.BITNET ? 2 : 1; // between two values
        for (int i = 0; i < values.length; i++) {
            int code = (values[i] + 1) / step;
            if (values[i] < -1 || values[i] > 1 || (values[i] + 1) % step != 0) {
                throw new IllegalArgumentException(
                        "it has the weight " + values[i] + ", which " + bits(quantization) + " bits cannot express");
            }
            codes[index(quantization, in, i / in, i % in)] |= (byte) (code << shift(quantization, i / in, i % in));
        }
        return new PackedMatrix(quantization, out, in, codes, new float[] {scale});
    }

    /** The weight without its scale: -1, 0 or 1. */
    public int value(int row, int column) {
        int bits = bits(quantization);
        int code = codes[index(quantization, in, row, column)] >> shift(quantization, row, column) & (1 << bits) - 1;
        return bits == 1 ? 2 * code - 1 : code - 1;
    }

    /** The scale of each row. */
    public float[] rowScales() {
        float[] rows = new float[out];
        int each = out / scales.length;
        for (int m = 0; m < scales.length; m++) {
            Arrays.fill(rows, m * each, (m + 1) * each, scales[m]);
        }
        return rows;
    }

    private static int index(Quantization quantization, int in, int row, int column) {
        int unit = unitColumns(quantization);
        int units = (in + unit - 1) / unit;
        int tile = row / TILE_ROWS;
        int g = row % 8;
        int t = column / 32 % 4;
        int j = column / 4 % 4;
        return ((((tile * units + column / unit) * 4 + t) * 8 + g) * 4 + j) * 4 + column % 4;
    }

    private static int shift(Quantization quantization, int row, int column) {
        int v = column % unitColumns(quantization) / 128;
        int h = column / 16 % 2;
        int s = row / 8 % 2;
        return bits(quantization) * (4 * v + 2 * h + s);
    }
}
