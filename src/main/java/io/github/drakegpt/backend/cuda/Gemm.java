package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.tensor.DType;
import java.util.Arrays;
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
        Types types = Types.of(a.dtype(), product.dtype(), tf32);
        int factorType = Types.cudaType(types.factors);
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
                        types.one(),
                        b.data(),
                        factorType,
                        b.stride(),
                        a.data(),
                        factorType,
                        a.stride(),
                        types.zero(),
                        product.data(),
                        Types.cudaType(types.product),
                        product.stride(),
                        types.compute,
                        cublasGemmAlgo.CUBLAS_GEMM_DEFAULT),
                "multiplying " + types.title + "matrices " + a.shape() + " and " + b.shape());
        context.launched("cublasGemmEx");
    }

    private static int operation(DeviceMatrix matrix) {
        return matrix.transposed() ? cublasOperation.CUBLAS_OP_T : cublasOperation.CUBLAS_OP_N;
    }

    /** What is multiplied, and what it is added up in. */
    private enum Types {
        FP32("", DType.F32, DType.F32, cublasComputeType.CUBLAS_COMPUTE_32F),
        TF32("tf32 ", DType.F32, DType.F32, cublasComputeType.CUBLAS_COMPUTE_32F_FAST_TF32),
        BF16("bf16 ", DType.BF16, DType.BF16, cublasComputeType.CUBLAS_COMPUTE_32F),
        BF16_TO_FP32("bf16 ", DType.BF16, DType.F32, cublasComputeType.CUBLAS_COMPUTE_32F),
        INT8("int8 ", DType.I8, DType.I32, cublasComputeType.CUBLAS_COMPUTE_32I);

        private final String title;
        private final DType factors;
        private final DType product;
        private final int compute;

        Types(String title, DType factors, DType product, int compute) {
            this.title = title;
            this.factors = factors;
            this.product = product;
            this.compute = compute;
        }

        static Types of(DType factors, DType product, boolean tf32) {
            return Arrays.stream(values())
                    .filter(types -> types.factors == factors && types.product == product)
                    .filter(types -> factors != DType.F32 || (types == TF32) == tf32)
                    .findFirst()
                    .orElseThrow(() -> new IllegalArgumentException("Matrices " + factors
                            + " cannot be multiplied into " + product + " on the GPU; give all of them one type."));
        }

        private static int cudaType(DType dtype) {
            return switch (dtype) {
                case F32 -> cudaDataType.CUDA_R_32F;
                case BF16 -> cudaDataType.CUDA_R_16BF;
                case I8 -> cudaDataType.CUDA_R_8I;
                case I32 -> cudaDataType.CUDA_R_32I;
                case U16 -> throw new IllegalArgumentException("cuBLAS multiplies no matrices " + dtype + ".");
            };
        }

        Pointer one() {
            return this == INT8 ? INT_ONE : ONE;
        }

        Pointer zero() {
            return this == INT8 ? INT_ZERO : ZERO;
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
