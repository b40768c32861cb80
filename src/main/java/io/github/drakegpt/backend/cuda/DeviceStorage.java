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
    private final long size;
    private volatile boolean closed; // a pointer is given to any thread

    DeviceStorage(CudaContext context, Staging staging, DType dtype, CUdeviceptr pointer, long size) {
        this.context = context;
        this.staging = staging;
        this.dtype = dtype;
        this.pointer = pointer;
        this.size = size;
    }

    /**
     * Address of a tensor.
     *
     * @param elements minimum number that it must have
     * @throws IllegalArgumentException if it has fewer, or is not on a GPU
     */
    static CUdeviceptr pointer(Tensor tensor, long elements) {
        if (tensor.size() < elements) {
            throw new IllegalArgumentException(
                    "A tensor " + tensor + " was given where " + elements + " elements are needed.");
        }
        if (!(tensor.storage() instanceof DeviceStorage storage)) {
            throw new IllegalArgumentException("A tensor " + tensor
                    + " that is not on the GPU was given; allocate it in an arena of this backend.");
        }
        return storage.at(tensor.offset());
    }

    /**
     * Address of a tensor that kernels read and write 16 bytes at a time.
     *
     * @throws IllegalArgumentException also if its address is not a multiple of 16
     */
    static CUdeviceptr aligned(Tensor tensor) {
        if (tensor.offset() * tensor.dtype().bytes() % 16 != 0) {
            throw new IllegalArgumentException("A tensor " + tensor + " was given that begins at element "
                    + tensor.offset() + " of its memory; it has to begin at a multiple of 16 bytes.");
        }
        return pointer(tensor, 0);
    }

    /** The address that a pointer stands for. */
    static long address(CUdeviceptr pointer) {
        return new Address(pointer).value();
    }

    /** A subclass, since JCuda shows the address only to those. */
    private static final class Address extends CUdeviceptr {
        Address(CUdeviceptr pointer) {
            super(pointer);
        }

        long value() {
            return getNativePointer() + getByteOffset();
        }
    }

    private CUdeviceptr at(long element) {
        if (closed) {
            throw new IllegalStateException("The tensor's arena is closed; use it before that.");
        }
        return pointer.withByteOffset(element * dtype.bytes());
    }

    @Override
    public long size() {
        return size;
    }

    @Override
    public void read(long offset, Object array, int arrayOffset, int length) {
        context.exclusively(() -> staging.read(at(offset), dtype, array, arrayOffset, length));
    }

    @Override
    public void write(long offset, Object array, int arrayOffset, int length) {
        context.exclusively(() -> staging.write(at(offset), dtype, array, arrayOffset, length));
    }

    @Override
    public Object device() {
        return context;
    }

    /** Storages at one address, which a program can wrap more than once, share their elements. */
    @Override
    public boolean equals(Object other) {
        return other instanceof DeviceStorage that
                && context == that.context
                && address(pointer) == address(that.pointer);
    }

    @Override
    public int hashCode() {
        return Long.hashCode(address(pointer));
    }

    @Override
    public void close() {
        closed = true;
        context.free(pointer);
    }
}
