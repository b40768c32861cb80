package io.github.drakegpt.tensor;

import java.util.Arrays;
import java.util.stream.Collectors;

/** The dimensions of a row-major tensor, outermost first: {@code (B, T, C)}. Immutable. */
public final class Shape {
    private final int[] dims;
    private final long size;

    private Shape(int[] dims) {
        long product = 1;
        for (int dim : dims) {
            if (dim < 0) {
                throw new IllegalArgumentException("A tensor cannot have the shape " + Arrays.toString(dims)
                        + "; every dimension must be zero or more.");
            }
            product = Math.multiplyExact(product, dim);
        }
        this.dims = dims;
        this.size = product;
    }

    /** A shape; without dimensions, that of a scalar. */
    public static Shape of(int... dims) {
        return new Shape(dims.clone());
    }

    /** Number of dimensions. */
    public int rank() {
        return dims.length;
    }

    /** Length of dimension {@code i}, counted from the outermost. */
    public int dim(int i) {
        return dims[i];
    }

    /** Number of elements. */
    public long size() {
        return size;
    }

    /** Length of the last dimension: the columns of a matrix, the elements of a vector; 1 for a scalar. */
    public int columns() {
        return dims.length == 0 ? 1 : dims[dims.length - 1];
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Shape shape && Arrays.equals(dims, shape.dims);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(dims);
    }

    @Override
    public String toString() {
        return Arrays.stream(dims).mapToObj(Integer::toString).collect(Collectors.joining(", ", "(", ")"));
    }
}
