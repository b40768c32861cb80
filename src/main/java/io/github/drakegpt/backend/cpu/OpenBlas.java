package io.github.drakegpt.backend.cpu;

import static org.bytedeco.openblas.global.openblas_nolapack.CblasNoTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasRowMajor;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.cblas_sgemm;
import static org.bytedeco.openblas.global.openblas_nolapack.cblas_sgemv;

import dev.ludovic.netlib.blas.BLAS;
import dev.ludovic.netlib.blas.NativeBLAS;
import io.github.drakegpt.backend.NativeFolder;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.openblas.global.openblas_nolapack;
import org.slf4j.LoggerFactory;

/**
 * Loads OpenBLAS and calls it. It runs single-threaded: each of the backend's threads computes a part of the batch,
 * which for matrices of this size is faster than threads inside a product.
 */
final class OpenBlas {
    private static final String KERNEL = "Core: "; // begins OpenBLAS's line
    private static final String NETLIB_LIBRARY = "dev.ludovic.netlib.blas.nativeLibPath";

    // Kept here, because a logger without references may be garbage-collected together with its level.
    private static Logger netlibLog;

    private OpenBlas() {}

    /** The fastest way to call OpenBLAS on this platform, loaded at the first call. */
    static Blas get() {
        return Holder.INSTANCE;
    }

    /** The version and platform that was loaded. */
    static String description() {
        return openblas_nolapack.OPENBLAS_VERSION.trim() + " ("
                + (get() instanceof NativeBlas ? NativeLibrary.PLATFORM : Loader.getPlatform())
                + (get() instanceof Copying ? ", arrays copied)" : ")");
    }

    private static final class Holder {
        static final Blas INSTANCE = load();
    }

    private static Blas load() {
        try {
            return new NativeBlas(NativeFolder.userCache());
        } catch (IOException e) {
            LoggerFactory.getLogger(OpenBlas.class).debug("OpenBLAS is loaded by javacpp: {}", e.getMessage());
            return loadByJavacpp();
        }
    }

    /** For other platforms, and builds without native code. */
    static Blas loadByJavacpp() {
        String jni;
        try {
            jni = Loader.load(openblas_nolapack.class);
        } catch (UnsatisfiedLinkError e) {
            throw new IllegalStateException(
                    "OpenBLAS could not be loaded for " + Loader.getPlatform() + " (" + e.getMessage()
                            + "); run on Linux (x86-64 or arm64, glibc), macOS (arm64) or Windows (x86-64).",
                    e);
        }
        openblas_nolapack.blas_set_num_threads(1);
        return inPlace(Path.of(jni).getParent());
    }

    /**
     * javacpp passes copies of Java arrays to native code, which more than halves the speed; netlib passes the arrays
     * themselves, but has native code for Linux only. It uses the library that javacpp has loaded.
     */
    private static Blas inPlace(Path folder) {
        Path library = folder.resolve("libopenblas_nolapack.so.0");
        if (!Files.exists(library)) {
            return new Copying();
        }
        System.setProperty(NETLIB_LIBRARY, library.toString());
        netlibLog = Logger.getLogger("dev.ludovic.netlib.blas.InstanceBuilder");
        netlibLog.setLevel(Level.OFF); // it warns about implementations that are not used
        try {
            return new InPlace(NativeBLAS.getInstance());
        } catch (RuntimeException e) {
            LoggerFactory.getLogger(OpenBlas.class)
                    .warn("OpenBLAS works on copies of the arrays, which is slower: {}", e.getMessage());
            return new Copying();
        }
    }

    /**
     * The kernel that OpenBLAS chose for this processor, such as "SkylakeX". OpenBLAS prints it only if an environment
     * variable is set, so this starts a second process.
     *
     * @throws IOException if that process cannot be started
     */
    static String kernel() throws IOException {
        ProcessBuilder builder = new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                OpenBlas.class.getName());
        builder.environment().put("OPENBLAS_VERBOSE", "2");
        builder.redirectErrorStream(true);
        Process process = builder.start();
        process.getOutputStream().close();
        try (BufferedReader reader = process.inputReader()) {
            return reader.lines()
                    .filter(line -> line.startsWith(KERNEL))
                    .map(line -> line.substring(KERNEL.length()).strip())
                    .findFirst()
                    .orElse("unknown");
        }
    }

    /** Loads the library and ends; {@link #kernel} starts it as a process. */
    public static void main(String[] args) {
        Loader.load(openblas_nolapack.class);
    }

    /** Works on the Java arrays themselves. BLAS is column-major, and reads a row-major matrix as its transpose. */
    private static final class InPlace implements Blas {
        private final BLAS blas;
        private final Blas copying = new Copying();

        InPlace(BLAS blas) {
            this.blas = blas;
        }

        @Override
        public void gemm(float alpha, Matrix a, Matrix b, float beta, Matrix c) {
            if (hasWholeRows(a) && hasWholeRows(b) && hasWholeRows(c)) {
                // c^T = op(b)^T op(a)^T
                blas.sgemm(
                        op(b), op(a), c.columns, c.rows, a.width(), alpha, b.array, b.offset, b.stride, a.array,
                        a.offset, a.stride, beta, c.array, c.offset, c.stride);
            } else {
                copying.gemm(alpha, a, b, beta, c);
            }
        }

        /**
         * Whether the array holds the last row up to its full length, which netlib requires even where a matrix is only
         * some columns of a tensor. {@link HeapArena} ensures it for whole tensors; slices may lack it.
         */
        private static boolean hasWholeRows(Matrix x) {
            return x.offset + (long) x.rows * x.stride <= x.array.length;
        }

        @Override
        public void gemv(Matrix a, float[] x, int xo, float beta, float[] y, int yo) {
            String op = a.transposed ? "N" : "T";
            blas.sgemv(op, a.columns, a.rows, 1, a.array, a.offset, a.stride, x, xo, 1, beta, y, yo, 1);
        }

        private static String op(Matrix x) {
            return x.transposed ? "T" : "N";
        }
    }

    /** Works on copies outside the heap, which each thread keeps. */
    static final class Copying implements Blas {
        private final ThreadLocal<FloatPointer[]> buffers = ThreadLocal.withInitial(() -> new FloatPointer[3]);

        @Override
        public void gemm(float alpha, Matrix a, Matrix b, float beta, Matrix c) {
            int n = c.columns;
            FloatPointer pa = copyIn(0, a.array, a.offset, extent(a));
            FloatPointer pb = copyIn(1, b.array, b.offset, extent(b));
            FloatPointer pc = copyIn(2, c.array, c.offset, extent(c));
            cblas_sgemm(
                    CblasRowMajor,
                    op(a),
                    op(b),
                    c.rows,
                    n,
                    a.width(),
                    alpha,
                    pa,
                    a.stride,
                    pb,
                    b.stride,
                    beta,
                    pc,
                    c.stride);
            pc.get(c.array, c.offset, extent(c));
        }

        @Override
        public void gemv(Matrix a, float[] x, int xo, float beta, float[] y, int yo) {
            FloatPointer pa = copyIn(0, a.array, a.offset, extent(a));
            FloatPointer px = copyIn(1, x, xo, a.width());
            FloatPointer py = copyIn(2, y, yo, a.height());
            cblas_sgemv(CblasRowMajor, op(a), a.rows, a.columns, 1, pa, a.stride, px, 1, beta, py, 1);
            py.get(y, yo, a.height());
        }

        private FloatPointer copyIn(int slot, float[] array, int offset, int length) {
            FloatPointer[] pointers = buffers.get();
            if (pointers[slot] == null || pointers[slot].capacity() < length) {
                pointers[slot] = new FloatPointer((long) length);
            }
            return pointers[slot].put(array, offset, length);
        }

        private static int extent(Matrix x) {
            return (x.rows - 1) * x.stride + x.columns;
        }

        private static int op(Matrix x) {
            return x.transposed ? CblasTrans : CblasNoTrans;
        }
    }
}
