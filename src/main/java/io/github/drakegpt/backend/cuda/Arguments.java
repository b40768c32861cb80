package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;

/** Operands as arguments of kernels. Types and shapes were checked when the operation's record was made. */
final class Arguments {
    static final Pointer NULL = new CUdeviceptr();

    private Arguments() {}

    /** Address of a tensor. */
    static CUdeviceptr pointer(Tensor tensor) {
        return DeviceStorage.pointer(tensor, 0);
    }

    /** Addresses of tensors. */
    static Object[] pointers(Tensor... tensors) {
        return Arrays.stream(tensors).map(Arguments::pointer).toArray();
    }

    /** Address of a tensor, or {@link #NULL} for null. */
    static Pointer orNull(Tensor tensor) {
        return tensor == null ? NULL : pointer(tensor);
    }

    /** Values, scales, sums and stride. */
    static Object[] int8(Int8Rows q) {
        return new Object[] {DeviceStorage.aligned(q.values()), pointer(q.scales()), pointer(q.sums()), q.stride()};
    }

    /** Seed, purpose and step. */
    static Object[] stream(RandomStream stream) {
        return new Object[] {stream.seed(), stream.purpose(), pointer(stream.step())};
    }

    /** The dropout that is on in a pass, or null. */
    static Dropout active(Dropout dropout, Pass pass) {
        return pass.training() ? dropout : null;
    }

    /**
     * The index of the first row or sequence in the whole batch, then seed, purpose, step, threshold and scale; with a
     * threshold of 0 nothing is dropped.
     *
     * @param dropout that is on, or null
     */
    static Object[] mask(long first, Dropout dropout) {
        return dropout == null
                ? new Object[] {0L, 0L, 0, NULL, 0, 1f}
                : new Object[] {first, stream(dropout.stream()), dropout.threshold(), dropout.scale()};
    }
}
