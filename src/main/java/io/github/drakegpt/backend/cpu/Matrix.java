package io.github.drakegpt.backend.cpu;

/**
 * A row-major matrix in a Java array, for {@link Blas}; transposed if asked. {@link Scratch} keeps a few to be set anew for
 * each product, so that products allocate nothing.
 */
final class Matrix {
    float[] array;
    int offset;
    int rows;
    int columns;
    int stride; // from one row to the next
    boolean transposed;

    /** Takes it transposed; rows and columns stay those of the array. */
    Matrix transposed() {
        transposed = true;
        return this;
    }

    /** Rows of what the product takes. */
    int height() {
        return transposed ? columns : rows;
    }

    /** Columns of what the product takes. */
    int width() {
        return transposed ? rows : columns;
    }
}
