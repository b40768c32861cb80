package io.github.drakegpt.tensor;

/** Counts what would be allocated. Its tensors take what is written to them and forget it; nothing can run on them. */
public final class MeasuringArena implements Arena {
    /** Memory of no content; each tensor has one of its own, as tensors that share one would overlap. */
    private static final class Nothing implements Storage {
        @Override
        public void read(long offset, Object array, int arrayOffset, int length) {
            throw new UnsupportedOperationException("A tensor that was only measured has no content.");
        }

        @Override
        public void write(long offset, Object array, int arrayOffset, int length) {
            // there is nowhere to keep it
        }

        @Override
        public Object device() {
            return "no device";
        }

        @Override
        public void close() {
            // nothing was taken
        }
    }

    private long bytes;

    @Override
    public Tensor allocate(DType dtype, Shape shape) {
        bytes += shape.size() * dtype.bytes();
        return new Tensor(dtype, shape, new Nothing(), 0);
    }

    @Override
    public void onClose(Runnable release) {
        // what was recorded over nothing is never run
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
