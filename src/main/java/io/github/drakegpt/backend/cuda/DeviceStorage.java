package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Storage;
import io.github.drakegpt.tensor.Tensor;
import jcuda.driver.CUdeviceptr;

/** Elements in the memory of a GPU. */
final class DeviceStorage implements Storage {
    private final CudaContext context;
    private final Staging staging;
    private final DType dtype;
    private final CUdeviceptr pointer;

    DeviceStorage(CudaContext context, Staging staging, DType dtype, CUdeviceptr pointer) {
        this.context = context;
        this.staging = staging;
        this.dtype = dtype;
        this.pointer = pointer;
    }

    /**
     * Where a tensor begins.
     *
     * @param dtype what the tensor should be made of
     * @param elements how many it should have at least
     * @throws IllegalArgumentException if it is another one, or not on a GPU
     */
    static CUdeviceptr pointer(Tensor tensor, DType dtype, long elements) {
        if (tensor.dtype() != dtype || tensor.size() < elements) {
            throw new IllegalArgumentException(
                    "A tensor " + tensor + " was given where " + elements + " elements " + dtype + " are needed.");
        }
        if (!(tensor.storage() instanceof DeviceStorage storage)) {
            throw new IllegalArgumentException("A tensor " + tensor
                    + " that is not on the GPU was given; allocate it in an arena of this backend.");
        }
        return storage.at(tensor.offset());
    }

    /**
     * Where a tensor begins that kernels read and write 16 bytes at a time.
     *
     * @throws IllegalArgumentException also if it begins at no multiple of 16 bytes of its memory, which itself does
     */
    static CUdeviceptr aligned(Tensor tensor, DType dtype, long elements) {
        CUdeviceptr pointer = pointer(tensor, dtype, elements);
        if (tensor.offset() * dtype.bytes() % 16 != 0) {
            throw new IllegalArgumentException("A tensor " + tensor + " was given that begins at element "
                    + tensor.offset() + " of its memory; it has to begin at a multiple of 16 bytes.");
        }
        return pointer;
    }

    /** The address of a tensor's first element, checked as by {@link #pointer}. */
    static long address(Tensor tensor, DType dtype, long elements) {
        return address(pointer(tensor, dtype, elements));
    }

    /** The address that a pointer stands for. */
    static long address(CUdeviceptr pointer) {
        return new Address(pointer).value();
    }

    /** JCuda tells the address only to subclasses. */
    private static final class Address extends CUdeviceptr {
        Address(CUdeviceptr pointer) {
            super(pointer);
        }

        long value() {
            return getNativePointer() + getByteOffset();
        }
    }

    private CUdeviceptr at(long element) {
        return pointer.withByteOffset(element * dtype.bytes());
    }

    @Override
    public void read(long offset, Object array, int arrayOffset, int length) {
        staging.read(at(offset), dtype, array, arrayOffset, length);
    }

    @Override
    public void write(long offset, Object array, int arrayOffset, int length) {
        staging.write(at(offset), dtype, array, arrayOffset, length);
    }

    @Override
    public Object device() {
        return context;
    }

    @Override
    public void close() {
        context.free(pointer);
    }
}
