package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.tensor.Tensor;

/** The matrix products of OpenBLAS on Java arrays. */
interface Blas {
    /** c = alpha * a b + beta * c. */
    void gemm(float alpha, Matrix a, Matrix b, float beta, Matrix c);

    /** y = a x + beta * y; the vectors begin at {@code xo} and {@code yo}. */
    void gemv(Matrix a, float[] x, int xo, float beta, float[] y, int yo);

    /** sums (columns) = the sum of the rows of x: x transposed times a vector of ones. */
    default void columnSums(Matrix x, Tensor sums) {
        gemv(x.transposed(), Scratch.get().ones(x.rows), 0, 0, floats(sums), start(sums));
    }
}
