package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.tensor.DType;
import jcuda.Pointer;
import jcuda.cudaDataType;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;
import jcuda.jcublas.JCublas2;
import jcuda.jcublas.cublasComputeType;
import jcuda.jcublas.cublasGemmAlgo;
import jcuda.jcublas.cublasHandle;
import jcuda.jcublas.cublasMath;
import jcuda.jcublas.cublasOperation;
import jcuda.jcublas.cublasStatus;
import jcuda.runtime.cudaStream_t;

/**
 * Matrix products by cuBLAS, for row-major matrices.
 *
 * <p>cuBLAS is column-major: it takes the memory of a row-major (m, n) matrix for a column-major (n, m) one, that is for
 * the transposed. So C = A B is asked for as C^T = B^T A^T: the operands change places, m and n do, and the flags that say
 * which operand is transposed stay with their operands. Leading dimensions are the lengths of the rows.
 */
final class Gemm implements AutoCloseable {
    /** What NVIDIA recommends for Hopper. cuBLAS would allocate its own otherwise, which a graph cannot capture. */
    private static final long WORKSPACE_BYTES = 32 << 20;

    private static final Pointer ONE = Pointer.to(new float[] {1});
    private static final Pointer ZERO = Pointer.to(new float[] {0});

    private static final Pointer INT_ONE = Pointer.to(new int[] {1});
    private static final Pointer INT_ZERO = Pointer.to(new int[] {0});

    private final CudaContext context;
    private final cublasHandle handle = new cublasHandle();
    private final CUdeviceptr workspace;
    private final boolean tf32;

    /** @param tf32 whether float32 factors may be rounded to 10 bits of mantissa, for the tensor cores */
    Gemm(CudaContext context, CUstream stream, boolean tf32) {
        this.context = context;
        this.tf32 = tf32;
        context.enter();
        workspace = context.allocate(WORKSPACE_BYTES, "matrix products");
        check(JCublas2.cublasCreate(handle), "starting cuBLAS");
        check(JCublas2.cublasSetStream(handle, new cudaStream_t(stream)), "giving cuBLAS its stream");
        check(JCublas2.cublasSetWorkspace(handle, workspace, WORKSPACE_BYTES), "giving cuBLAS its workspace");
        check(
                JCublas2.cublasSetMathMode(handle, cublasMath.CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION),
                "telling cuBLAS to add up in float32");
    }

    /** The version of cuBLAS, as in 13.1.1. */
    String version() {
        int[] version = new int[1];
        check(JCublas2.cublasGetVersion(handle, version), "reading the version of cuBLAS");
        return version[0] / 10000 + "." + version[0] / 100 % 100 + "." + version[0] % 100;
    }

    /**
     * product (m, n) = a b, with a (m, k) and b (k, n). Of factors F32 it is F32, of BF16 either, with sums in float32; of I8 it is
     * I32 and exact.
     *
     * <p>Factors I8 begin at multiples of 4 bytes, better of 16, and k is a multiple of 4: cuBLAS documents that much for the
     * leading dimensions of int8. For its kernels on tensor cores it also wants a and the transposed of b as they lie in memory,
     * and n to be a multiple of 4; m may be any.
     */
    void multiply(DeviceMatrix a, DeviceMatrix b, DeviceMatrix product) {
        Types types = types(a.dtype(), product.dtype());
        context.enter();
        context.launching("cublasGemmEx");
        check(
                JCublas2.cublasGemmEx_new(
                        handle,
                        operation(b),
                        operation(a),
                        product.columns(),
                        product.rows(),
                        a.columns(),
                        types.one,
                        b.data(),
                        types.factors,
                        b.stride(),
                        a.data(),
                        types.factors,
                        a.stride(),
                        types.zero,
                        product.data(),
                        types.product,
                        product.stride(),
                        types.compute,
                        cublasGemmAlgo.CUBLAS_GEMM_DEFAULT),
                "multiplying " + types.title + "matrices " + a.shape() + " and " + b.shape());
        context.launched("cublasGemmEx");
    }

    private static int operation(DeviceMatrix matrix) {
        return matrix.transposed() ? cublasOperation.CUBLAS_OP_T : cublasOperation.CUBLAS_OP_N;
    }

    private Types types(DType factors, DType product) {
        if (factors == DType.F32 && product == DType.F32) {
            return tf32 ? Types.TF32 : Types.FP32;
        } else if (factors == DType.BF16 && product == DType.BF16) {
            return Types.BF16;
        } else if (factors == DType.BF16 && product == DType.F32) {
            return Types.BF16_TO_FP32;
        } else if (factors == DType.I8 && product == DType.I32) {
            return Types.INT8;
        }
        throw new IllegalArgumentException("Matrices " + factors + " cannot be multiplied into " + product
                + " on the GPU; give the product the type of the factors.");
    }

    /**
     * c[i] = a[i] b[i] for {@code batch} products of matrices F32 that lie in memory one after another: a (m, k), b (k, n),
     * or their transposed where said.
     */
    void multiplyBatched(
            CUdeviceptr a,
            boolean transposedA,
            CUdeviceptr b,
            boolean transposedB,
            CUdeviceptr c,
            int m,
            int n,
            int k,
            int batch) {
        context.enter();
        context.launching("cublasGemmStridedBatchedEx");
        check(
                JCublas2.cublasGemmStridedBatchedEx_new(
                        handle,
                        transposedB ? cublasOperation.CUBLAS_OP_T : cublasOperation.CUBLAS_OP_N,
                        transposedA ? cublasOperation.CUBLAS_OP_T : cublasOperation.CUBLAS_OP_N,
                        n,
                        m,
                        k,
                        ONE,
                        b,
                        cudaDataType.CUDA_R_32F,
                        transposedB ? k : n,
                        (long) k * n,
                        a,
                        cudaDataType.CUDA_R_32F,
                        transposedA ? m : k,
                        (long) m * k,
                        ZERO,
                        c,
                        cudaDataType.CUDA_R_32F,
                        n,
                        (long) m * n,
                        batch,
                        cublasComputeType.CUBLAS_COMPUTE_32F,
                        cublasGemmAlgo.CUBLAS_GEMM_DEFAULT),
                "multiplying " + batch + " times matrices (" + m + ", " + k + ") and (" + k + ", " + n + ")");
        context.launched("cublasGemmStridedBatchedEx");
    }

    /** What is multiplied, and what it is added up in. */
    private enum Types {
        FP32("", cudaDataType.CUDA_R_32F, cudaDataType.CUDA_R_32F, cublasComputeType.CUBLAS_COMPUTE_32F, ONE, ZERO),
        TF32(
                "tf32 ",
                cudaDataType.CUDA_R_32F,
                cudaDataType.CUDA_R_32F,
                cublasComputeType.CUBLAS_COMPUTE_32F_FAST_TF32,
                ONE,
                ZERO),
        BF16(
                "bf16 ",
                cudaDataType.CUDA_R_16BF,
                cudaDataType.CUDA_R_16BF,
                cublasComputeType.CUBLAS_COMPUTE_32F,
                ONE,
                ZERO),
        BF16_TO_FP32(
                "bf16 ",
                cudaDataType.CUDA_R_16BF,
                cudaDataType.CUDA_R_32F,
                cublasComputeType.CUBLAS_COMPUTE_32F,
                ONE,
                ZERO),
        INT8(
                "int8 ",
                cudaDataType.CUDA_R_8I,
                cudaDataType.CUDA_R_32I,
                cublasComputeType.CUBLAS_COMPUTE_32I,
                INT_ONE,
                INT_ZERO);

        private final String title;
        private final int factors;
        private final int product;
        private final int compute;
        private final Pointer one;
        private final Pointer zero;

        Types(String title, int factors, int product, int compute, Pointer one, Pointer zero) {
            this.title = title;
            this.factors = factors;
            this.product = product;
            this.compute = compute;
            this.one = one;
            this.zero = zero;
        }
    }

    private void check(int status, String doing) {
        if (status != cublasStatus.CUBLAS_STATUS_SUCCESS) {
            throw context.libraryFailure(cublasStatus.stringFor(status), doing);
        }
    }

    @Override
    public void close() {
        if (context.broken()) {
            context.free(workspace); // counted only
            return;
        }
        context.enter();
        check(JCublas2.cublasDestroy(handle), "closing cuBLAS");
        context.free(workspace);
    }
}
