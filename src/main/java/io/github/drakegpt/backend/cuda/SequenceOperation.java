package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * An operation that {@code sequence.cu} does on the rows of each sequence alone. Tensors are addresses here, so that two calls
 * with the same arguments are equal.
 *
 * @param length rows of each of the {@code batch} sequences
 * @param operands in the order in which the kernel expects them
 * @param sizes likewise
 * @param random what is drawn, or dropped
 * @param number what else the kernel multiplies with
 * @param scratch floats of shared memory that it needs for itself
 * @param multiplications of one sequence
 */
record SequenceOperation(
        Kind kind,
        int batch,
        int length,
        List<Operand> operands,
        List<Integer> sizes,
        Random random,
        float number,
        int scratch,
        long multiplications) {

    /** Numbered as in {@code sequence.cu}. */
    enum Kind {
        GATHER(1, false),
        EMBEDDING(1, false),
        EMBEDDING_GRAD(2, false),
        ZERO(1, false),
        RELU_GRAD(2, true),
        RESIDUAL(1, true),
        LAYER_NORM(1, true),
        LAYER_NORM_GRAD(3, true),
        LINEAR(2, false),
        LINEAR_GRAD(4, false),
        ATTENTION(1, false),
        ATTENTION_CACHED(2, false),
        ATTENTION_GRAD(2, false),
        CROSS_ENTROPY(2, true),
        RESIDUAL_GRAD(2, true);

        /** About how many launches it takes elsewhere. */
        final int launches;
        /** Whether it may write over what it reads. */
        final boolean inPlace;

        Kind(int launches, boolean inPlace) {
            this.launches = launches;
            this.inPlace = inPlace;
        }
    }

    /** What a block has of a tensor. */
    enum Part {
        /** There is no tensor. */
        NONE,
        /** All of it, to read. */
        WHOLE,
        /** The rows of its sequence, which may be copied to shared memory. */
        ROWS,
        /** The same, but looked at as elements one after another. */
        ELEMENTS,
        /** What belongs to its sequence, in memory only. */
        FAR,
        /** What it adds to the gradient of a parameter. */
        GRADIENT,
        /** The losses of its tokens, which are added up. */
        LOSS
    }

    /** What is done with it. */
    enum Access {
        READ,
        /** All of it is written before any of it is read. */
        WRITE,
        UPDATE
    }

    /**
     * A tensor.
     *
     * @param width elements of a row
     */
    record Operand(Part part, Access access, long address, long bytes, int width) {
        static final Operand NONE = new Operand(Part.NONE, Access.READ, 0, 0, 0);

        /** Whether a copy in shared memory is possible. */
        boolean placeable() {
            return part == Part.ROWS || part == Part.ELEMENTS;
        }
    }

    /**
     * A stream of random numbers, and what is dropped by them.
     *
     * @param step I32 (1)
     * @param threshold 0: nothing is dropped
     * @param first place of the first sequence, or row, in the whole batch
     */
    record Random(Operand step, long seed, int purpose, int threshold, float scale, long first) {
        static final Random NONE = new Random(Operand.NONE, 0, 0, 0, 1, 0);
    }

    /** The most rows of a sequence whose attention fits: pairs of rows are kept in shared memory. */
    static final int LONGEST = 64;

    /** The longest row that is normalized. */
    static final int WIDEST_NORM = 128;

    private static final int WARP = 32;
    private static final int THREADS = 256;
    /** Rows of a product that are computed together. */
    private static final int TILE = 8;

    private static final int LARGEST_SCRATCH = 2 * LONGEST * LONGEST;

    /** Collects what an operation is made of. */
    static final class Builder {
        private final Kind kind;
        private final int batch;
        private final int length;
        private final List<Operand> operands = new ArrayList<>();
        private List<Integer> sizes = List.of();
        private Random random = Random.NONE;
        private float number;
        private int scratch;
        private long multiplications;
        private boolean fits = true;

        Builder(Kind kind, int batch, int length) {
            this.kind = kind;
            this.batch = batch;
            this.length = length;
        }

        private Operand operand(Part part, Access access, Tensor tensor, DType dtype, long elements, int width) {
            if (tensor == null) {
                return Operand.NONE;
            }
            fits &= tensor.dtype() == dtype;
            return fits
                    ? new Operand(
                            part,
                            access,
                            DeviceStorage.address(tensor, dtype, elements),
                            elements * dtype.bytes(),
                            width)
                    : Operand.NONE;
        }

        private Builder add(Operand operand) {
            operands.add(operand);
            return this;
        }

        /** (B, T, width) F32, or null. */
        Builder rows(Access access, Tensor tensor, int width) {
            return add(operand(Part.ROWS, access, tensor, DType.F32, (long) batch * length * width, width));
        }

        /** {@code length * width} elements F32 for each sequence. */
        Builder elements(Access access, Tensor tensor, int width) {
            return add(operand(Part.ELEMENTS, access, tensor, DType.F32, (long) batch * length * width, width));
        }

        /** {@code each} elements for each sequence, of any type. */
        Builder far(Access access, Tensor tensor, DType dtype, int each) {
            return add(operand(Part.FAR, access, tensor, dtype, (long) batch * each, each));
        }

        /** A tensor, or null, of at least so many elements, that nothing writes. */
        Builder whole(Tensor tensor, DType dtype, long elements) {
            return add(operand(
                    Part.WHOLE, Access.READ, tensor, dtype, tensor == null ? 0 : Math.max(tensor.size(), elements), 0));
        }

        private Operand step(RandomStream stream) {
            return operand(Part.WHOLE, Access.READ, stream.step(), DType.I32, 1, 0);
        }

        /** The gradient of a parameter, or null. */
        Builder gradient(Tensor tensor, long elements) {
            return add(operand(Part.GRADIENT, Access.WRITE, tensor, DType.F32, elements, 0));
        }

        /** (1) F32. */
        Builder loss(Tensor tensor) {
            return add(operand(Part.LOSS, Access.WRITE, tensor, DType.F32, 1, 0));
        }

        Builder sizes(Integer... values) {
            sizes = List.of(values);
            return this;
        }

        Builder stream(RandomStream stream, long first) {
            random = new Random(step(stream), stream.seed(), stream.purpose(), 0, 1, first);
            return this;
        }

        /** @param dropout or null */
        Builder dropout(Dropout dropout, long first) {
            if (dropout != null && dropout.threshold() > 0) {
                RandomStream stream = dropout.stream();
                random = new Random(
                        step(stream), stream.seed(), stream.purpose(), dropout.threshold(), dropout.scale(), first);
            }
            return this;
        }

        Builder number(float value) {
            number = value;
            return this;
        }

        /** A product of the rows with a matrix of so many elements, {@code times} over. */
        Builder product(int times, int in, int out) {
            multiplications = (long) times * (length + TILE - 1) / TILE * TILE * in * out;
            return this;
        }

        /** Sizes and costs of attention of the rows to at most so many keys. */
        Builder attention(int heads, int headSize, int keys) {
            fits &= keys <= LONGEST;
            int lanes = 1;
            while (lanes < Math.min(keys, WARP)) {
                lanes *= 2;
            }
            sizes = List.of(heads, headSize, lanes, keys);
            scratch = THREADS / lanes * keys;
            multiplications = 2L * heads * length * keys * headSize;
            return this;
        }

        /** The same for its gradient. */
        Builder attentionGrad(int heads, int headSize) {
            fits &= length <= LONGEST;
            int together = Math.max(1, Math.min(heads, LARGEST_SCRATCH / (2 * length * length)));
            sizes = List.of(heads, headSize, together);
            scratch = 2 * together * length * length;
            multiplications = 6L * heads * length * length * headSize;
            return this;
        }

        /** Room for the sums of as many tiles of rows as there are warps. */
        Builder partialProducts() {
            scratch = TILE * THREADS;
            return this;
        }

        /** A norm of rows. */
        Builder norm(int width) {
            fits &= width <= WIDEST_NORM;
            return this;
        }

        /** The operation, or null if it is none that the kernel can do. */
        SequenceOperation build() {
            if (!fits || !(kind.inPlace || readsNothingItWrites())) {
                return null;
            }
            return new SequenceOperation(
                    kind, batch, length, operands, sizes, random, number, scratch, multiplications);
        }

        private boolean readsNothingItWrites() {
            long[] addresses = operands.stream()
                    .filter(operand -> operand.part() != Part.NONE)
                    .mapToLong(Operand::address)
                    .toArray();
            return Arrays.stream(addresses).distinct().count() == addresses.length;
        }
    }
}
