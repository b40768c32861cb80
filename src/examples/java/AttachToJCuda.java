import static jcuda.driver.JCudaDriver.*;

import io.github.drakegpt.CudaInterop;
import io.github.drakegpt.Device;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;
import jcuda.driver.CUstream_flags;

/**
 * Softmax in device memory of a program that uses JCuda itself: in its context, and on its stream. Needs an NVIDIA GPU.
 *
 * <pre>java -cp target/drakegpt.jar src/examples/java/AttachToJCuda.java</pre>
 */
public class AttachToJCuda {
    public static void main(String[] args) {
        CUdevice gpu = new CUdevice();
        CUcontext context = new CUcontext();
        CUstream stream = new CUstream();
        check(cuInit(0));
        check(cuDeviceGet(gpu, 0));
        check(cuCtxCreate(context, 0, gpu));
        check(cuStreamCreate(stream, CUstream_flags.CU_STREAM_NON_BLOCKING));
        float[] scores = {1, 2, 3, 4, 1, 1, 1, 1}; // (2, 4)
        CUdeviceptr memory = new CUdeviceptr();
        check(cuMemAlloc(memory, 4L * scores.length));
        check(cuMemcpyHtoDAsync(memory, Pointer.to(scores), 4L * scores.length, stream));
        try (Device device = CudaInterop.attach(context, stream)) {
            Tensor x = CudaInterop.wrap(device, memory, DType.F32, 2, 4);
            device.softmax(x, x);
            check(cuMemcpyDtoHAsync(Pointer.to(scores), memory, 4L * scores.length, stream));
            check(cuStreamSynchronize(stream));
        }
        System.out.println("probabilities " + Arrays.toString(scores));
        check(cuMemFree(memory));
        check(cuStreamDestroy(stream));
        check(cuCtxDestroy(context));
    }

    private static void check(int result) {
        if (result != 0) {
            throw new IllegalStateException("CUDA reports error " + result);
        }
    }
}
