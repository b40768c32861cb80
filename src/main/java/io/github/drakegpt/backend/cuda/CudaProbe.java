package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.cuda.JCudaNatives.error;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.IntSupplier;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdevice_attribute;
import jcuda.driver.JCudaDriver;

/** Lists the devices of the driver that {@link CudaLibraries} has loaded. */
final class CudaProbe {
    private static final int OLDEST_MAJOR = 8; // the kernels are compiled for it
    private static final String VISIBLE = "CUDA_VISIBLE_DEVICES";

    private CudaProbe() {}

    /** A device: its number among the visible ones, its name, its compute capability. */
    record Device(int index, String name, int major, int minor, int multiprocessors) {
        /** One line for people. */
        String description() {
            return name + ", compute capability " + major + "." + minor + ", " + multiprocessors + " multiprocessors";
        }

        /** The reason why it cannot be used, in one sentence; empty if it can. */
        Optional<String> obstacle() {
            return major >= OLDEST_MAJOR
                    ? Optional.empty()
                    : Optional.of("The GPU " + name + " has compute capability " + major + "." + minor
                            + " where 8.0 is needed; use another one (" + VISIBLE
                            + " says which come first) or the device cpu.");
        }
    }

    /**
     * The visible devices, at least one, in the driver's order.
     *
     * @throws CudaUnavailableException if there is none, or the driver does not start
     */
    static List<Device> devices() {
        String error = error(() -> JCudaDriver.cuInit(0));
        if (!error.isEmpty() && !error.equals("CUDA_ERROR_NO_DEVICE")) {
            throw new CudaUnavailableException("The NVIDIA driver does not start (" + error
                    + "); check that nvidia-smi runs, and restart the machine if the driver was updated.");
        }
        int[] count = new int[1];
        if (error.isEmpty()) {
            check(() -> JCudaDriver.cuDeviceGetCount(count));
        }
        if (count[0] == 0) {
            String visible = System.getenv(VISIBLE);
            throw new CudaUnavailableException(
                    visible == null
                            ? "The NVIDIA driver finds no GPU; check that nvidia-smi lists one (a container has to be"
                                    + " started with its GPUs, as with docker run --gpus all)."
                            : "There is no GPU among those that " + VISIBLE + "='" + visible
                                    + "' makes visible; unset it, or name one that nvidia-smi lists, such as 0.");
        }
        List<Device> devices = new ArrayList<>();
        for (int i = 0; i < count[0]; i++) {
            CUdevice device = device(i);
            byte[] name = new byte[256];
            check(() -> JCudaDriver.cuDeviceGetName(name, name.length, device));
            devices.add(new Device(
                    i,
                    new String(name, StandardCharsets.UTF_8).split("\0", 2)[0],
                    attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
                    attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
                    attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)));
        }
        return devices;
    }

    /** A device's memory for people. Only a context can tell, so the primary one is retained for a moment. */
    static String memory(int index) {
        CUdevice device = device(index);
        CUcontext context = new CUcontext();
        check(() -> JCudaDriver.cuDevicePrimaryCtxRetain(context, device));
        try {
            check(() -> JCudaDriver.cuCtxPushCurrent(context));
            try {
                long[] free = new long[1];
                long[] total = new long[1];
                check(() -> JCudaDriver.cuMemGetInfo(free, total));
                return String.format(Locale.ROOT, "%,d MB, free %,d MB", total[0] >> 20, free[0] >> 20);
            } finally {
                check(() -> JCudaDriver.cuCtxPopCurrent(new CUcontext()));
            }
        } finally {
            check(() -> JCudaDriver.cuDevicePrimaryCtxRelease(device));
        }
    }

    private static CUdevice device(int index) {
        CUdevice device = new CUdevice();
        check(() -> JCudaDriver.cuDeviceGet(device, index));
        return device;
    }

    private static int attribute(CUdevice device, int attribute) {
        int[] value = new int[1];
        check(() -> JCudaDriver.cuDeviceGetAttribute(value, attribute, device));
        return value[0];
    }

    private static void check(IntSupplier call) {
        String error = error(call);
        if (!error.isEmpty()) {
            throw new CudaUnavailableException("The NVIDIA driver does not answer (" + error
                    + "); check that nvidia-smi runs and shows the GPU without an error.");
        }
    }
}
