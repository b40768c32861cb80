package io.github.drakegpt;

import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.cuda.CudaBackend;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;

/**
 * For programs that use a GPU by JCuda themselves: a {@link Device} in their context and on their stream, and memory in
 * common. This is the only class here that names JCuda's types; programs without JCuda do not touch it.
 */
@SuppressWarnings("exports") // JCuda is optional, so that its types cannot be exported transitively
public final class CudaInterop {
    private CudaInterop() {}

    /**
     * A device in float32, like {@link #attach(CUcontext, CUstream, Precision)}.
     *
     * @param context of the program
     * @param stream of that context
     * @return the device
     * @throws IllegalArgumentException if the stream is a default stream, or of another context
     * @throws RuntimeException that says what is missing, if cuBLAS cannot be found
     */
    public static Device attach(CUcontext context, CUstream stream) {
        return attach(context, stream, Precision.FP32);
    }

    /**
     * A device in a context and on a stream that the program has made: the program's work on that stream and the device's
     * run in the order of the calls. Closing the device leaves both open. The context becomes, and stays, current for
     * each calling thread.
     *
     * <p>While a model is trained or generates, the program must not wait for the whole context (cuCtxSynchronize,
     * cudaDeviceSynchronize), nor use the default stream if the given one waits for it (made without
     * CU_STREAM_NON_BLOCKING): work that is being recorded as a CUDA graph at that moment is then launched piece by
     * piece, which is slower. JCuda's exceptions must be off, which is the default.
     *
     * @param context of the program
     * @param stream of that context, not the default one
     * @param precision of models
     * @return the device
     * @throws IllegalArgumentException if the stream is a default stream, or of another context
     * @throws RuntimeException that says what is missing, if cuBLAS cannot be found
     */
    public static Device attach(CUcontext context, CUstream stream, Precision precision) {
        return new Device(CudaBackend.on(context, stream, new BackendOptions(1, precision, true)));
    }

    /**
     * A tensor in memory that the program has allocated: nothing is copied, and the program frees it, after this device's
     * work on it is done.
     *
     * @param device a GPU in whose context the memory was allocated
     * @param pointer to the first element, at a multiple of 16 bytes
     * @param dtype type of the elements
     * @param dims the tensor's dimensions, outermost first
     * @return the tensor
     * @throws IllegalArgumentException if the device is no GPU, the address is no such multiple or not of that context, or
     *     the memory ends before the tensor
     */
    public static Tensor wrap(Device device, CUdeviceptr pointer, DType dtype, int... dims) {
        if (!(device.backend() instanceof CudaBackend gpu)) {
            throw new IllegalArgumentException(
                    "The device " + device.name() + " cannot reach a GPU's memory; give the device of that GPU.");
        }
        return gpu.wrap(pointer, dtype, Shape.of(dims));
    }

    /**
     * Address of a tensor's first element, for kernels and libraries of the program.
     *
     * @param tensor of a GPU; the address is valid as long as the tensor
     * @return the pointer
     * @throws IllegalArgumentException if the tensor is not on a GPU
     */
    public static CUdeviceptr pointer(Tensor tensor) {
        return CudaBackend.pointer(tensor);
    }

    /**
     * What operations launch on a GPU, for programs that launch the kernels themselves, from any language: the operations
     * run, on the calling thread, and each launch of one of this library's kernels is noted. Matrix products of float32
     * and bfloat16 are cuBLAS's, and not among them.
     *
     * @param operations such as {@code () -> device.softmax(x, y)}, with operands as large as they will be
     * @return the launches, in their order
     */
    public static List<KernelLaunch> launchesOf(Runnable operations) {
        List<KernelLaunch> launches = new ArrayList<>();
        CudaBackend.observeLaunches(
                (file, entry, gridX, gridY, blockX, blockY, sharedBytes, types, values) -> {
                    List<KernelLaunch.Parameter> parameters = new ArrayList<>();
                    for (int i = 0; i < values.size(); i++) {
                        parameters.add(new KernelLaunch.Parameter(types.get(i), values.get(i)));
                    }
                    launches.add(new KernelLaunch(
                            file, entry, gridX, gridY, blockX, blockY, sharedBytes, List.copyOf(parameters)));
                },
                operations);
        return List.copyOf(launches);
    }

    /**
     * The PTX of kernels, for compute capability 8.0 and later unless it says otherwise: text that cuModuleLoadData takes.
     *
     * @param module as {@link KernelLaunch#module} names it
     * @return the text
     * @throws IllegalArgumentException if there is no such module
     */
    public static String ptx(String module) {
        return CudaBackend.ptx(module);
    }
}
