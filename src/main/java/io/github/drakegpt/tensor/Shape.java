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
            if (dim > 0 && product > Long.MAX_VALUE / dim) {
                throw new IllegalArgumentException("A tensor cannot have the shape " + Arrays.toString(dims)
                        + ", whose elements are more than can be counted; choose a smaller one.");
            }
            product *= dim;
        }
        this.dims = dims;
        this.size = product;
    }

    /**
     * A shape.
     *
     * @param dims lengths of the dimensions, outermost first; none for a scalar
     * @return the shape
     * @throws IllegalArgumentException if a dimension is negative, or the elements are too many to be counted
     */
    public static Shape of(int... dims) {
        return new Shape(dims.clone());
    }

    /**
     * Number of dimensions.
     *
     * @return 0 for a scalar, 1 for a vector, 2 for a matrix
     */
    public int rank() {
        return dims.length;
    }

    /**
     * Length of a dimension.
     *
     * @param i its number, counted from the outermost
     * @return the length
     */
    public int dim(int i) {
        return dims[i];
    }

    /**
     * Lengths of all dimensions, outermost first.
     *
     * @return a new array
     */
    public int[] dims() {
        return dims.clone();
    }

    /**
     * Number of elements.
     *
     * @return the product of the dimensions
     */
    public long size() {
        return size;
    }

    /**
     * Length of the last dimension.
     *
     * @return the columns of a matrix, the elements of a vector; 1 for a scalar
     */
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

    /** The dimensions in brackets, such as {@code (2, 4)}. */
    @Override
    public String toString() {
        return Arrays.stream(dims).mapToObj(Integer::toString).collect(Collectors.joining(", ", "(", ")"));
    }
}
