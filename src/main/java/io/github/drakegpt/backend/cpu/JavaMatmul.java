package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.tensor.Bfloat16;
import java.util.Arrays;

/**
 * Matrix products over Java arrays. Each element of a result is one chain of fused multiply-adds over the inner
 * dimension, in ascending order; that order defines the bits, which native code gives as well, so that they are the same
 * on every machine.
 */
final class JavaMatmul {
    private static final int BLOCK = 32;

    private JavaMatmul() {}

    /** A matrix in an array: element (i, j) is at {@code from + i * row + j * column}. */
    record Matrix(float[] array, int from, int row, int column) {
        float at(int i, int j) {
            return array[from + i * row + j * column];
        }

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
        // arrays that begin with their rows: the JIT compiler vectorizes loops over arrays that are indexed alike
        Scratch scratch = Scratch.get();
        float[][] rows = scratch.rows(0, k, n);
        for (int p = 0; p < k; p++) {
            int from = b.from + p * b.row;
            for (int j = 0; j < n; j++) {
                rows[p][j] = b.array[from + j * b.column];
            }
        }
        float[] sums = scratch.floats(7, n);
        for (int i = 0; i < m; i++) {
            int to = c.from + i * c.row;
            System.arraycopy(c.array, to, sums, 0, n);
            int p = 0;
            for (; p + 4 <= k; p += 4) {
                addFourProducts(a, i, p, rows, sums, n);
            }
            for (; p < k; p++) {
                VectorMath.addProduct(a.at(i, p), rows[p], sums, n);
            }
            System.arraycopy(sums, 0, c.array, to, n);
        }
    }

    /**
     * The same of factors that are rounded to bfloat16. An element takes its steps in blocks of {@value #BLOCK}: of a
     * block, the products at even places are added up in ascending order, those at odd places too, and both sums
     * together are added to the element; numbers below 2^-126 count as 0. That is how Intel's AMX adds (TDPBF16PS in
     * volume 2 of its Software Developer's Manual).
     */
    static void multiplyBf16(int m, int n, int k, Matrix a, Matrix b, Matrix c) {
        Scratch scratch = Scratch.get();
        float[][] rows = scratch.rows(0, k, n);
        for (int p = 0; p < k; p++) {
            int from = b.from + p * b.row;
            for (int j = 0; j < n; j++) {
                rows[p][j] = bf16(b.array[from + j * b.column]);
            }
        }
        float[][] sums = scratch.rows(1, 2, n); // of even and of odd places
        for (int i = 0; i < m; i++) {
            for (int first = 0; first < k; first += BLOCK) {
                Arrays.fill(sums[0], 0, n, 0f);
                Arrays.fill(sums[1], 0, n, 0f);
                for (int p = first; p < Math.min(first + BLOCK, k); p++) {
                    float x = bf16(a.at(i, p));
                    float[] row = rows[p];
                    float[] sum = sums[p % 2];
                    for (int j = 0; j < n; j++) {
                        sum[j] = flush(Math.fma(x, row[j], sum[j]));
                    }
                }
                for (int j = 0; j < n; j++) {
                    int at = c.from + i * c.row + j;
                    c.array[at] = flush(flush(c.array[at]) + flush(sums[0][j] + sums[1][j]));
                }
            }
        }
    }

    private static float bf16(float x) {
        return Bfloat16.toFloat(Bfloat16.of(flush(x)));
    }

    private static float flush(float x) {
        return Math.abs(x) < Float.MIN_NORMAL ? 0f * x : x;
    }

    /** Four steps of the chains, so that the sums are fetched and stored less often. */
    private static void addFourProducts(Matrix a, int i, int p, float[][] rows, float[] sums, int n) {
        float x0 = a.at(i, p);
        float x1 = a.at(i, p + 1);
        float x2 = a.at(i, p + 2);
        float x3 = a.at(i, p + 3);
        float[] r0 = rows[p];
        float[] r1 = rows[p + 1];
        float[] r2 = rows[p + 2];
        float[] r3 = rows[p + 3];
        for (int j = 0; j < n; j++) {
            sums[j] = Math.fma(x3, r3[j], Math.fma(x2, r2[j], Math.fma(x1, r1[j], Math.fma(x0, r0[j], sums[j]))));
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
