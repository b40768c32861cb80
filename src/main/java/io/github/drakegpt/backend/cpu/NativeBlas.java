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
    /** Each comes before those that need it. */
    private static final List<String> LIBRARIES =
            List.of("libgcc_s.so.1", "libquadmath.so.0", "libgfortran.so.5", "libopenblas.so.0");

    /**
     * Loads the libraries.
     *
     * @param cache the folder below which they are unpacked
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
    public void gemm(float alpha, Matrix a, Matrix b, float beta, Matrix c) {
        check(a, c.rows, a.width());
        check(b, a.width(), c.columns);
        check(c, c.rows, c.columns);
        sgemm(
                a.transposed,
                b.transposed,
                c.rows,
                c.columns,
                a.width(),
                alpha,
                a.array,
                a.offset,
                a.stride,
                b.array,
                b.offset,
                b.stride,
                beta,
                c.array,
                c.offset,
                c.stride);
    }

    @Override
    public void gemv(Matrix a, float[] x, int xo, float beta, float[] y, int yo) {
        check(a, a.height(), a.width());
        Objects.checkFromIndexSize(xo, a.width(), x.length);
        Objects.checkFromIndexSize(yo, a.height(), y.length);
        sgemv(a.transposed, a.rows, a.columns, a.array, a.offset, a.stride, x, xo, beta, y, yo);
    }

    /** Refuses a matrix that is not of the product's size or not within its array, since native code checks nothing. */
    private static void check(Matrix x, int height, int width) {
        if (x.height() != height || x.width() != width) {
            throw new IllegalArgumentException(
                    "a matrix (" + x.height() + ", " + x.width() + ") is not (" + height + ", " + width + ")");
        }
        if (x.rows < 0 || x.columns < 0 || x.rows > 1 && x.stride < x.columns) {
            throw new IllegalArgumentException(
                    "no matrix has " + x.rows + " rows of " + x.columns + ", " + x.stride + " apart");
        }
        if (x.rows > 0) {
            Objects.checkFromIndexSize(x.offset, (x.rows - 1L) * x.stride + x.columns, (long) x.array.length);
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
