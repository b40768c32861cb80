package io.github.drakegpt.tensor;

/**
 * A row-major, contiguous view of elements in the memory of a device. A tensor owns nothing: slices of one storage share
 * its elements, which is how all parameters of a model live in one flat buffer. It can be used until the arena that
 * allocated it is closed. Immutable, apart from its elements.
 */
public final class Tensor {
    private final DType dtype;
    private final Shape shape;
    private final Storage storage;
    private final long offset;

    /**
     * A view of {@code shape.size()} elements of a storage; devices make them.
     *
     * @param dtype type of the elements
     * @param shape dimensions
     * @param storage memory of the elements
     * @param offset index of the first element within the storage
     * @throws IndexOutOfBoundsException if the storage has fewer elements
     */
    public Tensor(DType dtype, Shape shape, Storage storage, long offset) {
        if (offset < 0 || offset > storage.size() - shape.size()) {
            throw new IndexOutOfBoundsException("A tensor " + dtype + " " + shape + " from element " + offset
                    + " on does not lie within a storage of " + storage.size() + " elements; choose another part.");
        }
        this.dtype = dtype;
        this.shape = shape;
        this.storage = storage;
        this.offset = offset;
    }

    /**
     * Type of the elements.
     *
     * @return the type
     */
    public DType dtype() {
        return dtype;
    }

    /**
     * Dimensions.
     *
     * @return the shape
     */
    public Shape shape() {
        return shape;
    }

    /**
     * Number of elements.
     *
     * @return the product of the dimensions
     */
    public long size() {
        return shape.size();
    }

    /**
     * Memory of the elements.
     *
     * @return the storage, of which this may be a part
     */
    public Storage storage() {
        return storage;
    }

    /**
     * Index of the first element within the storage.
     *
     * @return the index, from 0
     */
    public long offset() {
        return offset;
    }

    /**
     * A view of a part: {@code shape.size()} elements from element {@code start} on.
     *
     * @param start index of the part's first element
     * @param shape the part's dimensions
     * @return the view, which shares the elements
     * @throws IndexOutOfBoundsException if the part does not lie within this tensor
     */
    public Tensor slice(long start, Shape shape) {
        if (start < 0 || start > size() - shape.size()) {
            throw new IndexOutOfBoundsException("A part " + shape + " from element " + start
                    + " on does not lie within a tensor of " + size() + " elements; choose another part.");
        }
        return new Tensor(dtype, shape, storage, offset + start);
    }

    /**
     * A view of rows: of indices of the first dimension. Of (B, T, C) it is (to - from, T, C).
     *
     * @param from first row
     * @param to row after the last
     * @return the view, which shares the elements
     * @throws IndexOutOfBoundsException if the tensor does not have those rows
     */
    public Tensor rows(int from, int to) {
        int rows = shape.rank() == 0 ? 0 : shape.dim(0);
        if (from < 0 || from > to || to > rows) {
            throw new IndexOutOfBoundsException("A tensor " + this + " has no rows from " + from + " to " + to
                    + "; choose some up to " + rows + ".");
        }
        int[] dims = shape.dims();
        long each = rows == 0 ? 0 : size() / rows;
        dims[0] = to - from;
        return slice(from * each, Shape.of(dims));
    }

    /**
     * Whether it shares elements with another tensor.
     *
     * @param other of any device
     * @return whether a change of one can be seen in the other
     */
    public boolean overlaps(Tensor other) {
        return storage.equals(other.storage) && offset < other.offset + other.size() && other.offset < offset + size();
    }

    /**
     * Copies the first elements of an F32 or BF16 tensor to the host, after all earlier operations.
     *
     * @param values receives as many as it is long
     * @throws IllegalStateException if the tensor has fewer, or another type
     */
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

    /**
     * Copies the first elements of an I32 tensor to the host, after all earlier operations.
     *
     * @param values receives as many as it is long
     * @throws IllegalStateException if the tensor has fewer, or another type
     */
    public void read(int[] values) {
        require(DType.I32, values.length);
        storage.read(offset, values, 0, values.length);
    }

    /**
     * Overwrites the first elements of an F32 tensor, or of a BF16 tensor with the values rounded to nearest, ties to
     * even.
     *
     * @param values any number up to the tensor's
     * @throws IllegalStateException if the tensor has fewer elements, or another type
     */
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

    /**
     * Overwrites the first elements of an I32 tensor.
     *
     * @param values any number up to the tensor's
     * @throws IllegalStateException if the tensor has fewer elements, or another type
     */
    public void write(int... values) {
        require(DType.I32, values.length);
        storage.write(offset, values, 0, values.length);
    }

    /**
     * Overwrites the first elements of a U16 tensor.
     *
     * @param values any number up to the tensor's: a Java char is an unsigned 16-bit integer
     * @throws IllegalStateException if the tensor has fewer elements, or another type
     */
    public void write(char... values) {
        require(DType.U16, values.length);
        storage.write(offset, values, 0, values.length);
    }

    /**
     * Overwrites the first elements of an I8 tensor.
     *
     * @param values any number up to the tensor's
     * @throws IllegalStateException if the tensor has fewer elements, or another type
     */
    public void write(byte... values) {
        require(DType.I8, values.length);
        storage.write(offset, values, 0, values.length);
    }

    /**
     * All elements of an F32 or BF16 tensor, copied to the host after all earlier operations.
     *
     * @return a new array, row-major
     * @throws IllegalStateException if the tensor has another type
     */
    public float[] toFloats() {
        float[] values = new float[Math.toIntExact(size())];
        read(values);
        return values;
    }

    /**
     * All elements of an I32 tensor, copied to the host after all earlier operations.
     *
     * @return a new array, row-major
     * @throws IllegalStateException if the tensor has another type
     */
    public int[] toInts() {
        int[] values = new int[Math.toIntExact(size())];
        read(values);
        return values;
    }

    /**
     * All elements of an I8 tensor, copied to the host after all earlier operations.
     *
     * @return a new array, row-major
     * @throws IllegalStateException if the tensor has another type
     */
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

    /** Type and shape, such as {@code F32 (2, 4)}. */
    @Override
    public String toString() {
        return dtype + " " + shape;
    }
}
