package io.github.drakegpt.backend.cpu;

/**
 * A row-major matrix in a Java array, for {@link Blas}; optionally transposed. {@link Scratch} reuses a few of them, so
 * that products allocate nothing.
 */
final class Matrix {
    float[] array;
    int offset;
    int rows;
    int columns;
    int stride; // from one row to the next
    boolean transposed;

    /** Marks it as transposed; rows and columns stay those of the array. */
    Matrix transposed() {
        transposed = true;
        return this;
    }

    /** Rows of the matrix after transposing. */
    int height() {
        return transposed ? columns : rows;
    }

    /** Columns of the matrix after transposing. */
    int width() {
        return transposed ? rows : columns;
    }
}
