package io.github.drakegpt.ops;

import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;

/**
 * Rows rounded to 8 bits, each with its own scale: the input of products with {@link PackedWeights}. With s = max(|x|)
 * / 127 of a row, but at least 1e-5 / 127, its values are round(x / s), ties to even.
 *
 * @param values I8 (rows, stride), from -127 to 127; stride is the number of columns, padded with zeros to
 *     {@link PackedMatrix#paddedColumns}
 * @param scales (rows): s; NaN for a row that has a NaN, infinite for one that has an infinity, whose values are 0
 *     then, so that products with it are NaN
 * @param sums I32 (rows): the sum of a row's values
 */
public record Int8Rows(Tensor values, Tensor scales, Tensor sums) {
    /** Allocates rows of {@code in} elements, padded for products with weights of a quantization. */
    public static Int8Rows allocate(Arena arena, Quantization quantization, int rows, int in) {
        return new Int8Rows(
                arena.allocate(DType.I8, Shape.of(rows, PackedMatrix.paddedColumns(quantization, in))),
                arena.allocate(DType.F32, Shape.of(rows)),
                arena.allocate(DType.I32, Shape.of(rows)));
    }

    /** Elements from one row to the next. */
    public int stride() {
        return values.shape().dim(1);
    }

    /** Throws unless the stride is that of rows of so many columns, padded for one of the quantizations. */
    void requireColumns(String operation, int columns) {
        if (stride() != PackedMatrix.paddedColumns(Quantization.BITNET, columns)
                && stride() != PackedMatrix.paddedColumns(Quantization.B158, columns)) {
            throw new IllegalArgumentException(operation + ": rows of " + stride() + " elements were given for "
                    + columns + " columns; take as many as PackedMatrix.paddedColumns says.");
        }
    }

    /** Throws unless the stride is the one that packed weights need. */
    void requireStride(String operation, int stride) {
        if (stride() != stride) {
            throw new IllegalArgumentException(
                    operation + ": rows of " + stride() + " elements were given for packed weights"
                            + " whose rows take " + stride + "; allocate them for the same quantization and columns.");
        }
    }
}
