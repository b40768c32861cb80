package io.github.drakegpt.backend.cpu;

import java.io.IOException;
import java.net.URL;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;

/**
 * OpenBLAS on the Java arrays themselves, through {@code native/cpu}. It loads javacpp's libraries without javacpp's
 * classes, which take a sixth of a second to find them.
 */
final class NativeBlas implements Blas {
    private static final String FOLDER = "org/bytedeco/openblas/" + NativeLibrary.PLATFORM + "/";
    /** Each before those that need it. */
    private static final List<String> LIBRARIES =
            List.of("libgcc_s.so.1", "libquadmath.so.0", "libgfortran.so.5", "libopenblas.so.0");

    /**
     * Loads the libraries.
     *
     * @param cache below which they are unpacked
     * @throws IOException if they are not for this platform or not in this build, or cannot be loaded
     */
    NativeBlas(Path cache) throws IOException {
        NativeLibrary.load(NativeLibrary.RESOURCE, cache);
        Path file = null;
        for (String name : LIBRARIES) {
            URL library = NativeBlas.class.getClassLoader().getResource(FOLDER + name);
            if (library == null) {
                throw new IOException("this build has no " + name);
            }
            file = NativeLibrary.load(library, cache);
        }
        if (!open(file.toString())) {
            throw new IOException(file + " does not have the functions of OpenBLAS");
        }
    }

    @Override
    public void gemm(
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
            int ldc) {
        check(a, ao, transA ? k : m, transA ? m : k, lda);
        check(b, bo, transB ? n : k, transB ? k : n, ldb);
        check(c, co, m, n, ldc);
        sgemm(transA, transB, m, n, k, alpha, a, ao, lda, b, bo, ldb, beta, c, co, ldc);
    }

    @Override
    public void gemv(
            boolean transA,
            int m,
            int n,
            float[] a,
            int ao,
            int lda,
            float[] x,
            int xo,
            float beta,
            float[] y,
            int yo) {
        check(a, ao, m, n, lda);
        check(x, xo, 1, transA ? m : n, 0);
        check(y, yo, 1, transA ? n : m, 0);
        sgemv(transA, m, n, a, ao, lda, x, xo, beta, y, yo);
    }

    /** Refuses a matrix (rows, columns) that does not lie within its array: native code would write anywhere. */
    private static void check(float[] array, int offset, int rows, int columns, int ld) {
        if (rows < 0 || columns < 0 || rows > 1 && ld < columns) {
            throw new IllegalArgumentException("no matrix has " + rows + " rows of " + columns + ", " + ld + " apart");
        }
        if (rows > 0) {
            Objects.checkFromIndexSize(offset, (rows - 1L) * ld + columns, (long) array.length);
        }
    }

    private static native boolean open(String openblas);

    private static native void sgemm(
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

    private static native void sgemv(
            boolean transA, int m, int n, float[] a, int ao, int lda, float[] x, int xo, float beta, float[] y, int yo);
}
