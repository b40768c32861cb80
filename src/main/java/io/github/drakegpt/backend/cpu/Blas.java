package io.github.drakegpt.backend.cpu;

/** The matrix products of OpenBLAS on row-major matrices in Java arrays: {@code o} is an offset, {@code ld} a row's length. */
interface Blas {
    /** c (m, n) = alpha * op(a) (m, k) op(b) (k, n) + beta * c, where op transposes if asked. */
    void gemm(
            boolean transA,
            boolean transB,
            int m,
            int n,
            int k,
            float alpha,
            float[] a,
            int ao,
            int lda,
            float[] b,
            int bo,
            int ldb,
            float beta,
            float[] c,
            int co,
            int ldc);

    /** y = op(a) x + beta * y for a (m, n): y has m elements, or n if a is transposed. */
    void gemv(
            boolean transA, int m, int n, float[] a, int ao, int lda, float[] x, int xo, float beta, float[] y, int yo);
}
