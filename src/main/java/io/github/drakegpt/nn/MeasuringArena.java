package io.github.drakegpt.nn;

import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Storage;
import io.github.drakegpt.tensor.Tensor;

/** Counts allocations without making them. Its tensors discard all that is written to them; nothing can run on them. */
public final class MeasuringArena implements Arena {
    /** Memory without content. Each tensor has its own, since tensors that share one would overlap. */
    private static final class Nothing implements Storage {
        private final long size;

        Nothing(long size) {
            this.size = size;
        }

        @Override
        public long size() {
            return size;
        }

        @Override
        public void read(long offset, Object array, int arrayOffset, int length) {
            throw new UnsupportedOperationException("A tensor that was only measured has no content.");
        }

        @Override
        public void write(long offset, Object array, int arrayOffset, int length) {
            // discarded
        }

        @Override
        public Object device() {
            return "no device";
        }

        @Override
        public void close() {
            // nothing was allocated
        }
    }

    private long bytes;

    @Override
    public Tensor allocate(DType dtype, Shape shape) {
        bytes += shape.size() * dtype.bytes();
        return new Tensor(dtype, shape, new Nothing(shape.size()), 0);
    }

    @Override
    public void onClose(Runnable release) {
        // nothing to release
    }

    @Override
    public long bytes() {
        return bytes;
    }

    @Override
    public long available() {
        return Long.MAX_VALUE;
    }

    @Override
    public void close() {
        bytes = 0;
    }
}
