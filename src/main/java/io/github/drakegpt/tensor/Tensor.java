package io.github.drakegpt.tensor;

/**
 * A row-major, contiguous view of a {@link Storage}. A tensor owns nothing: slices of one storage share its elements,
 * which is how all parameters of a model live in one flat buffer.
 */
public final class Tensor {
    private final DType dtype;
    private final Shape shape;
    private final Storage storage;
    private final long offset;

    /** A view of {@code shape.size()} elements of {@code storage}, starting at element {@code offset}. */
    public Tensor(DType dtype, Shape shape, Storage storage, long offset) {
        this.dtype = dtype;
        this.shape = shape;
        this.storage = storage;
        this.offset = offset;
    }

    public DType dtype() {
        return dtype;
    }

    public Shape shape() {
        return shape;
    }

    /** Number of elements. */
    public long size() {
        return shape.size();
    }

    public Storage storage() {
        return storage;
    }

    /** Index of the first element within the storage. */
    public long offset() {
        return offset;
    }

    /**
     * A view of a part: {@code shape.size()} elements from element {@code start} on.
     *
     * @throws IndexOutOfBoundsException if the part does not lie inside this tensor
     */
    public Tensor slice(long start, Shape shape) {
        if (start < 0 || start + shape.size() > size()) {
            throw new IndexOutOfBoundsException(
                    "Elements " + start + " to " + (start + shape.size()) + " of a tensor of " + size());
        }
        return new Tensor(dtype, shape, storage, offset + start);
    }

    /** Whether it shares elements with another tensor. */
    public boolean overlaps(Tensor other) {
        return storage == other.storage && offset < other.offset + other.size() && other.offset < offset + size();
    }

    /** Copies the first {@code values.length} elements of an F32 or BF16 tensor into {@code values}. */
    public void read(float[] values) {
        if (dtype == DType.BF16) {
            char[] bits = new char[values.length];
            require(DType.BF16, values.length);
            storage.read(offset, bits, 0, bits.length);
            for (int i = 0; i < bits.length; i++) {
                values[i] = Bfloat16.toFloat(bits[i]);
            }
            return;
        }
        require(DType.F32, values.length);
        storage.read(offset, values, 0, values.length);
    }

    /** Copies the first {@code values.length} elements of an I32 tensor into {@code values}. */
    public void read(int[] values) {
        require(DType.I32, values.length);
        storage.read(offset, values, 0, values.length);
    }

    /** Overwrites the first {@code values.length} elements of an F32 tensor, or of a BF16 tensor with them rounded. */
    public void write(float... values) {
        if (dtype == DType.BF16) {
            char[] bits = new char[values.length];
            for (int i = 0; i < bits.length; i++) {
                bits[i] = Bfloat16.of(values[i]);
            }
            require(DType.BF16, bits.length);
            storage.write(offset, bits, 0, bits.length);
            return;
        }
        require(DType.F32, values.length);
        storage.write(offset, values, 0, values.length);
    }

    /** Overwrites the first {@code values.length} elements of an I32 tensor. */
    public void write(int... values) {
        require(DType.I32, values.length);
        storage.write(offset, values, 0, values.length);
    }

    /** Overwrites the first {@code values.length} elements of a U16 tensor: a Java char is an unsigned 16-bit integer. */
    public void write(char... values) {
        require(DType.U16, values.length);
        storage.write(offset, values, 0, values.length);
    }

    /** Overwrites the first {@code values.length} elements of an I8 tensor. */
    public void write(byte... values) {
        require(DType.I8, values.length);
        storage.write(offset, values, 0, values.length);
    }

    /** All elements of an F32 or BF16 tensor, copied to the host. */
    public float[] toFloats() {
        float[] values = new float[Math.toIntExact(size())];
        read(values);
        return values;
    }

    /** All elements of an I32 tensor, copied to the host. */
    public int[] toInts() {
        int[] values = new int[Math.toIntExact(size())];
        read(values);
        return values;
    }

    /** All elements of an I8 tensor, copied to the host. */
    public byte[] toBytes() {
        byte[] values = new byte[Math.toIntExact(size())];
        require(DType.I8, values.length);
        storage.read(offset, values, 0, values.length);
        return values;
    }

    private void require(DType wanted, int length) {
        if (dtype != wanted || length > size()) {
            throw new IllegalStateException(length + " elements of " + wanted + " do not fit a tensor " + this
                    + "; use its own type and size.");
        }
    }

    @Override
    public String toString() {
        return dtype + " " + shape;
    }
}
