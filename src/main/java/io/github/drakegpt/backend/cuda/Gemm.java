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
 * <p>cuBLAS is column-major: to it, the memory of a row-major (m, n) matrix is a column-major (n, m) one, the
 * transpose. So C = A B is computed as C^T = B^T A^T: the operands are swapped, m and n are swapped, and each operand
 * keeps its transposition flag. Leading dimensions are the lengths of the rows.
 */
final class Gemm implements AutoCloseable {
    /**
     * NVIDIA's recommendation for Hopper. Otherwise cuBLAS would allocate its own workspace, which a graph cannot
     * capture.
     */
    private static final long WORKSPACE_BYTES = 32 << 20;

    private static final Pointer ONE = Pointer.to(new float[] {1});
    private static final Pointer ZERO = Pointer.to(new float[] {0});

    private static final Pointer INT_ONE = Pointer.to(new int[] {1});
    private static final Pointer INT_ZERO = Pointer.to(new int[] {0});

    private final CudaContext context;
    private final cublasHandle handle = new cublasHandle();
    private final CUdeviceptr workspace;
    private final boolean tf32;

    /** @param tf32 whether float32 inputs may be rounded to 10 bits of mantissa, for the tensor cores */
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

    /** The version of cuBLAS, such as 13.1.1. */
    String version() {
        int[] version = new int[1];
        check(JCublas2.cublasGetVersion(handle, version), "reading the version of cuBLAS");
        return version[0] / 10000 + "." + version[0] / 100 % 100 + "." + version[0] % 100;
    }

    /**
     * product (m, n) = a b, with a (m, k) and b (k, n). For inputs F32 it is F32, for BF16 either, with sums in
     * float32; for I8 it is I32 and exact.
     *
     * <p>Inputs I8 begin at multiples of 4 bytes, better of 16, and k is a multiple of 4, as cuBLAS documents for the
     * leading dimensions of int8. Its kernels for tensor cores also require a and the transpose of b to be row-major in
     * memory, and n to be a multiple of 4; m is arbitrary.
     */
    void multiply(DeviceMatrix a, DeviceMatrix b, DeviceMatrix product) {
        Types types = Types.of(a.dtype(), product.dtype(), tf32);
        int cudaInputType = Types.cudaType(types.inputType);
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
                        cudaInputType,
                        b.stride(),
                        a.data(),
                        cudaInputType,
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

    /** Types of inputs, product and sums. */
    private enum Types {
        FP32("", DType.F32, DType.F32, cublasComputeType.CUBLAS_COMPUTE_32F),
        TF32("tf32 ", DType.F32, DType.F32, cublasComputeType.CUBLAS_COMPUTE_32F_FAST_TF32),
        BF16("bf16 ", DType.BF16, DType.BF16, cublasComputeType.CUBLAS_COMPUTE_32F),
        BF16_TO_FP32("bf16 ", DType.BF16, DType.F32, cublasComputeType.CUBLAS_COMPUTE_32F),
        INT8("int8 ", DType.I8, DType.I32, cublasComputeType.CUBLAS_COMPUTE_32I);

        private final String title;
        private final DType inputType;
        private final DType product;
        private final int compute;

        Types(String title, DType inputType, DType product, int compute) {
            this.title = title;
            this.inputType = inputType;
            this.product = product;
            this.compute = compute;
        }

        static Types of(DType inputType, DType product, boolean tf32) {
            return Arrays.stream(values())
                    .filter(types -> types.inputType == inputType && types.product == product)
                    .filter(types -> inputType != DType.F32 || (types == TF32) == tf32)
                    .findFirst()
                    .orElseThrow(() -> new IllegalArgumentException("Matrices " + inputType
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
            context.free(workspace); // only for the count of allocations
            return;
        }
        context.enter();
        check(JCublas2.cublasDestroy(handle), "closing cuBLAS");
        context.free(workspace);
    }
}
