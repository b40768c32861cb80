package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.LibraryOperations;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Tensor;
import java.util.HashMap;
import java.util.Map;
import java.util.function.ToIntFunction;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;
import jcuda.jcudnn.JCudnn;
import jcuda.jcudnn.cudnnActivationDescriptor;
import jcuda.jcudnn.cudnnActivationMode;
import jcuda.jcudnn.cudnnDataType;
import jcuda.jcudnn.cudnnHandle;
import jcuda.jcudnn.cudnnNanPropagation;
import jcuda.jcudnn.cudnnSoftmaxAlgorithm;
import jcuda.jcudnn.cudnnSoftmaxMode;
import jcuda.jcudnn.cudnnStatus;
import jcuda.jcudnn.cudnnTensorDescriptor;
import jcuda.jcudnn.cudnnTensorFormat;
import jcuda.runtime.cudaStream_t;

/** Softmax and ReLU by cuDNN. */
final class Cudnn implements LibraryOperations {
    private static final Pointer ONE = Pointer.to(new float[] {1});
    private static final Pointer ZERO = Pointer.to(new float[] {0});

    private final CudaContext context;
    private final cudnnHandle handle = new cudnnHandle();
    private final cudnnActivationDescriptor relu = new cudnnActivationDescriptor();
    private final Map<Matrix, cudnnTensorDescriptor> descriptors = new HashMap<>();

    /** A matrix, to cuDNN a tensor of as many images as rows, each with as many features as columns. */
    private record Matrix(DType dtype, int rows, int c) {}

    /** @param arena closing it closes this too */
    Cudnn(CudaContext context, Arena arena) {
        this.context = context;
        context.enter();
        check(JCudnn.cudnnCreate(handle), "starting cuDNN");
        arena.onClose(this::close);
        check(JCudnn.cudnnSetStream(handle, new cudaStream_t(context.stream())), "giving cuDNN its stream");
        check(JCudnn.cudnnCreateActivationDescriptor(relu), "describing ReLU");
        check(
                JCudnn.cudnnSetActivationDescriptor(
                        relu, cudnnActivationMode.CUDNN_ACTIVATION_RELU, cudnnNanPropagation.CUDNN_PROPAGATE_NAN, 0),
                "describing ReLU");
    }

    @Override
    public String library() {
        return "cuDNN";
    }

    @Override
    public void softmax(Tensor x, Tensor y, int rows, int c) {
        run(
                "cudnnSoftmaxForward",
                new Matrix(x.dtype(), rows, c),
                matrix -> JCudnn.cudnnSoftmaxForward(
                        handle,
                        cudnnSoftmaxAlgorithm.CUDNN_SOFTMAX_ACCURATE,
                        cudnnSoftmaxMode.CUDNN_SOFTMAX_MODE_INSTANCE,
                        ONE,
                        matrix,
                        pointer(x, rows, c),
                        ZERO,
                        matrix,
                        pointer(y, rows, c)));
    }

    @Override
    public void softmaxGrad(Tensor y, Tensor dy, Tensor dx, int rows, int c) {
        run(
                "cudnnSoftmaxBackward",
                new Matrix(y.dtype(), rows, c),
                matrix -> JCudnn.cudnnSoftmaxBackward(
                        handle,
                        cudnnSoftmaxAlgorithm.CUDNN_SOFTMAX_ACCURATE,
                        cudnnSoftmaxMode.CUDNN_SOFTMAX_MODE_INSTANCE,
                        ONE,
                        matrix,
                        pointer(y, rows, c),
                        matrix,
                        pointer(dy, rows, c),
                        ZERO,
                        matrix,
                        pointer(dx, rows, c)));
    }

    @Override
    public void relu(Tensor x, Tensor y, int n) {
        run(
                "cudnnActivationForward",
                new Matrix(x.dtype(), 1, n),
                matrix -> JCudnn.cudnnActivationForward(
                        handle, relu, ONE, matrix, pointer(x, 1, n), ZERO, matrix, pointer(y, 1, n)));
    }

    @Override
    public void reluGrad(Tensor y, Tensor dy, int n) {
        run("cudnnActivationBackward", new Matrix(y.dtype(), 1, n), matrix -> {
            CUdeviceptr ys = pointer(y, 1, n);
            CUdeviceptr dys = pointer(dy, 1, n);
            return JCudnn.cudnnActivationBackward(
                    handle, relu, ONE, matrix, ys, matrix, dys, matrix, ys, ZERO, matrix, dys);
        });
    }

    private static CUdeviceptr pointer(Tensor tensor, int rows, int c) {
        return DeviceStorage.pointer(tensor, (long) rows * c);
    }

    private cudnnTensorDescriptor describe(Matrix matrix) {
        int dtype = switch (matrix.dtype()) {
            case F32 -> cudnnDataType.CUDNN_DATA_FLOAT;
            case BF16 -> cudnnDataType.CUDNN_DATA_BFLOAT16;
            default ->
                throw new IllegalArgumentException(
                        "cuDNN was given a tensor " + matrix.dtype() + "; give it F32 or BF16.");
        };
        cudnnTensorDescriptor descriptor = new cudnnTensorDescriptor();
        check(JCudnn.cudnnCreateTensorDescriptor(descriptor), "describing a matrix");
        check(
                JCudnn.cudnnSetTensor4dDescriptor(
                        descriptor, cudnnTensorFormat.CUDNN_TENSOR_NCHW, dtype, matrix.rows(), matrix.c(), 1, 1),
                "describing a matrix (" + matrix.rows() + ", " + matrix.c() + ")");
        return descriptor;
    }

    private void run(String name, Matrix operands, ToIntFunction<cudnnTensorDescriptor> call) {
        context.exclusively(() -> {
            cudnnTensorDescriptor descriptor = descriptors.computeIfAbsent(operands, this::describe);
            context.enter();
            context.launching(name);
            check(call.applyAsInt(descriptor), "running " + name);
            context.launched(name);
        });
    }

    private void check(int status, String doing) {
        if (status == cudnnStatus.CUDNN_STATUS_SUCCESS) {
            return;
        }
        String error = JCudnn.cudnnGetErrorString(status);
        if (error.startsWith("CUDNN_STATUS_NOT_SUPPORTED")) {
            throw new UnsupportedOperationException(
                    "cuDNN cannot do it with these operands (" + error + " while " + doing + ").");
        }
        throw context.libraryFailure(error, doing);
    }

    private void close() {
        if (!context.broken()) {
            context.enter();
            descriptors.values().forEach(JCudnn::cudnnDestroyTensorDescriptor);
            JCudnn.cudnnDestroyActivationDescriptor(relu);
            check(JCudnn.cudnnDestroy(handle), "closing cuDNN");
        }
    }
}
