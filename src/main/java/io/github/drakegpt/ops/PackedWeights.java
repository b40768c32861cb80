package io.github.drakegpt.ops;

import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;

/**
 * A {@link PackedMatrix} on a device.
 *
 * @param codes I8, its codes
 * @param scales (out), the scale of each row
 */
public record PackedWeights(Quantization quantization, int out, int in, Tensor codes, Tensor scales) {
    /** Room for a matrix (out, in). */
    public static PackedWeights allocate(Arena arena, Quantization quantization, int out, int in) {
        int bytes = Math.toIntExact(PackedMatrix.bytes(quantization, out, in));
        return new PackedWeights(
                quantization,
                out,
                in,
                arena.allocate(DType.I8, Shape.of(bytes)),
                arena.allocate(DType.F32, Shape.of(out)));
    }

    /**
     * Overwrites it.
     *
     * @throws IllegalArgumentException if the matrix has another quantization or other sizes
     */
    public void write(PackedMatrix matrix) {
        if (matrix.quantization() != quantization || matrix.out() != out || matrix.in() != in) {
            throw new IllegalArgumentException("A " + matrix.quantization().label() + " matrix (" + matrix.out() + ", "
                    + matrix.in() + ") was given for weights of " + quantization.label() + " (" + out + ", " + in
                    + "); give one of the same kind and sizes.");
        }
        codes.write(matrix.codes());
        scales.write(matrix.rowScales());
    }
}
