package io.github.drakegpt.backend.cpu;

import java.util.Arrays;

/**
 * Matrix products over Java arrays. Each element of a result is one chain of fused multiply-adds over the inner
 * dimension, in ascending order; that order defines the bits, which native code gives as well, so that they are the same
 * on every machine.
 */
final class JavaMatmul {
    private JavaMatmul() {}

    /** A matrix in an array: element (i, j) is at {@code from + i * row + j * column}. */
    record Matrix(float[] array, int from, int row, int column) {
        Matrix transposed() {
            return new Matrix(array, from, column, row);
        }
    }

    /**
     * c (m, n) = a (m, k) b (k, n) + c: the chains begin with what c holds.
     *
     * @param c whose elements of a row are side by side
     */
    static void multiply(int m, int n, int k, Matrix a, Matrix b, Matrix c) {
        // rows of b side by side, for loops that the compiler vectorizes
        Scratch scratch = Scratch.get();
        float[] rows = scratch.floats(6, k * n);
        for (int p = 0; p < k; p++) {
            int from = b.from + p * b.row;
            for (int j = 0; j < n; j++) {
                rows[p * n + j] = b.array[from + j * b.column];
            }
        }
        float[] sums = scratch.floats(7, n);
        for (int i = 0; i < m; i++) {
            int to = c.from + i * c.row;
            System.arraycopy(c.array, to, sums, 0, n);
            for (int p = 0; p < k; p++) {
                VectorMath.addProduct(a.array[a.from + i * a.row + p * a.column], rows, p * n, sums, 0, n);
            }
            System.arraycopy(sums, 0, c.array, to, n);
        }
    }

    /** sums (c) = the rows of x (rows, c), added up from the first to the last. */
    static void columnSums(float[] x, int from, int rows, int c, float[] sums, int to) {
        Arrays.fill(sums, to, to + c, 0f);
        for (int r = 0; r < rows; r++) {
            VectorMath.add(sums, to, x, from + r * c, c);
        }
    }
}
