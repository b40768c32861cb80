package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.ops.Access;
import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.EmbeddingGradOp;
import io.github.drakegpt.ops.EmbeddingOp;
import io.github.drakegpt.ops.GatherBatchOp;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Operand;
import io.github.drakegpt.ops.Operand.Extent;
import io.github.drakegpt.ops.Operation;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.ops.ReluGradOp;
import io.github.drakegpt.ops.ResidualGradOp;
import io.github.drakegpt.ops.ResidualOp;
import io.github.drakegpt.ops.ZeroOp;
import io.github.drakegpt.tensor.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * An operation in the form that {@code sequence.cu} interprets, on the rows of each sequence alone.
 *
 * @param arguments the operands in their record's order, without the step of random numbers
 * @param sizes in the order of {@link Kind#sizes}
 * @param random stream of a draw or of dropout
 * @param number scale of the gradient of cross entropy; else 0
 * @param cost its shared memory and arithmetic
 */
record SequenceOp(Kind kind, List<Argument> arguments, List<Integer> sizes, Random random, float number, Cost cost) {

    /** Kinds of operations, numbered as in {@code common/sequence_ops.cuh}, which is generated from this list. */
    enum Kind {
        GATHER_BATCH(GatherBatchOp.class, 1, "n"),
        EMBEDDING(EmbeddingOp.class, 1, "c", "v"),
        EMBEDDING_GRAD(EmbeddingGradOp.class, 2, "c", "v", "context"),
        ZERO(ZeroOp.class, 1, "c"),
        RELU_GRAD(ReluGradOp.class, 2, "c"),
        RESIDUAL(ResidualOp.class, 1, "c"),
        RESIDUAL_GRAD(ResidualGradOp.class, 2, "c"),
        LAYER_NORM(LayerNormOp.class, 1, "c"),
        LAYER_NORM_GRAD(LayerNormGradOp.class, 3, "c"),
        LINEAR(LinearOp.class, 2, "in", "out", "relu"),
        LINEAR_GRAD(LinearGradOp.class, 4, "in", "out"),
        ATTENTION(AttentionOp.class, 1, "heads", "head_size", "lanes", "keys"),
        ATTENTION_CACHED(AttentionCachedOp.class, 2, "heads", "head_size", "lanes", "keys"),
        ATTENTION_GRAD(AttentionGradOp.class, 2, "heads", "head_size", "together"),
        CROSS_ENTROPY(CrossEntropyOp.class, 2, "v");

        private final Class<? extends Operation> type;
        /** Approximate number of launches without a program. */
        final int launches;
        /** The names of its sizes. */
        final List<String> sizes;

        Kind(Class<? extends Operation> type, int launches, String... sizes) {
            this.type = type;
            this.launches = launches;
            this.sizes = List.of(sizes);
        }

        static Optional<Kind> of(Operation operation) {
            return Arrays.stream(values())
                    .filter(kind -> kind.type == operation.getClass())
                    .findFirst();
        }
    }

    /** The part of a tensor that a block uses for its sequence. */
    enum Part {
        /** None: there is no tensor. */
        NONE,
        /** The whole tensor, which is only read. */
        WHOLE,
        /** The rows of its sequence, which may be copied to shared memory. */
        ROWS,
        /** The same, as a flat array of elements. */
        ELEMENTS,
        /** The part of its sequence, in global memory only. */
        GLOBAL,
        /** Its part of the gradient of a parameter. */
        GRADIENT,
        /** The losses of its tokens, to be summed. */
        LOSS
    }

    /**
     * An operand.
     *
     * @param width elements of a row
     */
    record Argument(Part part, Access access, long address, long bytes, int width) {
        static final Argument NONE = new Argument(Part.NONE, Access.READ, 0, 0, 0);

        /** Whether a copy in shared memory is possible. */
        boolean placeable() {
            return part == Part.ROWS || part == Part.ELEMENTS;
        }
    }

    /**
     * A stream of random numbers, and the dropout that uses it.
     *
     * @param step address of I32 (1)
     * @param threshold 0: nothing is dropped
     * @param first index of the first sequence, or row, in the whole batch
     */
    record Random(long step, long seed, int purpose, int threshold, float scale, long first) {
        static final Random NONE = new Random(0, 0, 0, 0, 1, 0);
    }

    /**
     * Cost of an operation.
     *
     * @param scratch floats of shared memory besides the operands
     * @param multiplications of one sequence
     */
    record Cost(int scratch, long multiplications) {
        static final Cost SMALL = new Cost(0, 0);
    }

    /** Name of the operand with the step of random numbers, which is in {@link Random}. */
    static final String STEP = "step";

    /** Maximum rows of a sequence for attention, whose pairs of rows are kept in shared memory. */
    private static final int LONGEST = 64;

    /** Maximum length of a normalized row. */
    private static final int WIDEST_NORM = 128;

    private static final int WARP = 32;
    private static final int THREADS = 256;
    /** Rows of a product that are computed together. */
    private static final int TILE = 8;

    private static final int LARGEST_SCRATCH = 2 * LONGEST * LONGEST;

    /**
     * The operation for a pass; empty if the kernel does not support it: it has few kinds, F32 only, and short rows.
     */
    static Optional<SequenceOp> of(Operation operation, Pass pass) {
        Optional<Kind> kind = Kind.of(operation);
        List<Operand> operands = operation.operands().list();
        boolean known = kind.isPresent()
                && operands.stream()
                        .allMatch(operand -> operand.tensor().dtype() == DType.F32
                                || operand.tensor().dtype() == DType.I32
                                || operand.tensor().dtype() == DType.U16);
        if (!known || !fits(operation, pass)) {
            return Optional.empty();
        }
        List<Argument> arguments = new ArrayList<>();
        for (Operand operand : operation.operands().slots()) {
            if (operand == null) {
                arguments.add(Argument.NONE);
            } else if (!operand.name().equals(STEP)) {
                arguments.add(argument(kind.get(), operand, pass));
            }
        }
        float number = operation instanceof CrossEntropyOp op ? op.gradScale() : 0;
        return Optional.of(new SequenceOp(
                kind.get(), arguments, sizes(operation, pass), random(operation, pass), number, cost(operation, pass)));
    }

    private static boolean fits(Operation operation, Pass pass) {
        if (operation instanceof LayerNormOp op) {
            return op.rounded() == null && op.columns() <= WIDEST_NORM;
        }
        if (operation instanceof LayerNormGradOp op) {
            return op.columns() <= WIDEST_NORM;
        }
        if (operation instanceof AttentionCachedOp op) {
            return op.context() <= LONGEST;
        }
        return !(operation instanceof AttentionOp || operation instanceof AttentionGradOp) || pass.length() <= LONGEST;
    }

    private static Argument argument(Kind kind, Operand operand, Pass pass) {
        boolean unused = kind == Kind.EMBEDDING && operand.name().equals("position") && !pass.cached();
        if (unused) {
            return Argument.NONE;
        }
        DType dtype = operand.tensor().dtype();
        long elements = operand.elements(pass);
        return new Argument(
                part(kind, operand),
                operand.access(),
                DeviceStorage.address(DeviceStorage.pointer(operand.tensor(), elements)),
                elements * dtype.bytes(),
                Math.toIntExact(operand.extent() == Extent.ROWS ? operand.each() : 0));
    }

    private static Part part(Kind kind, Operand operand) {
        boolean attention = kind == Kind.ATTENTION || kind == Kind.ATTENTION_GRAD;
        return switch (operand.extent()) {
            case ROWS ->
                operand.tensor().dtype() != DType.F32
                        ? Part.GLOBAL
                        : attention && operand.name().equals("stats") ? Part.ELEMENTS : Part.ROWS;
            case SEQUENCES -> Part.GLOBAL;
            case WHOLE -> Part.WHOLE;
            case SUM -> kind == Kind.CROSS_ENTROPY ? Part.LOSS : Part.GRADIENT;
        };
    }

    // ---------------------------------------------------------------------------------------------- details

    private static List<Integer> sizes(Operation operation, Pass pass) {
        if (operation instanceof GatherBatchOp op) {
            return List.of(Math.toIntExact(op.corpus().size()));
        }
        if (operation instanceof EmbeddingOp op) {
            return List.of(op.columns(), op.vocabSize());
        }
        if (operation instanceof EmbeddingGradOp op) {
            int context = op.dwpe() == null ? 0 : op.dwpe().shape().dim(0);
            return List.of(op.columns(), op.vocabSize(), context);
        }
        if (operation instanceof LinearOp op) {
            return List.of(op.in(), op.out(), op.relu() ? 1 : 0);
        }
        if (operation instanceof LinearGradOp op) {
            return List.of(op.in(), op.out());
        }
        if (operation instanceof AttentionOp op) {
            return List.of(op.heads(), op.headSize(), lanes(pass.length()), pass.length());
        }
        if (operation instanceof AttentionCachedOp op) {
            return List.of(op.heads(), op.headSize(), lanes(op.context()), op.context());
        }
        if (operation instanceof AttentionGradOp op) {
            return List.of(op.forward().heads(), op.forward().headSize(), headsTogether(op, pass));
        }
        if (operation instanceof CrossEntropyOp op) {
            return List.of(op.vocabSize());
        }
        // the others have rows of one width, that of their first output
        return operation.operands().list().stream()
                .filter(operand -> operand.extent() == Extent.ROWS && operand.access() != Access.READ)
                .findFirst()
                .map(operand -> List.of(operand.tensor().shape().columns()))
                .orElseThrow();
    }

    private static Random random(Operation operation, Pass pass) {
        if (operation instanceof GatherBatchOp op) {
            RandomStream stream = op.stream();
            return new Random(step(stream), stream.seed(), stream.purpose(), 0, 1, pass.firstSequence());
        }
        if (operation instanceof ResidualOp op) {
            return dropout(op.dropout(), pass, pass.firstRow());
        }
        if (operation instanceof ResidualGradOp op) {
            return dropout(op.dropout(), pass, pass.firstRow());
        }
        if (operation instanceof LayerNormOp op && op.residual() != null) {
            return dropout(op.residual().dropout(), pass, pass.firstRow());
        }
        if (operation instanceof LayerNormGradOp op && op.residual() != null) {
            return dropout(op.residual().dropout(), pass, pass.firstRow());
        }
        if (operation instanceof AttentionOp op) {
            return dropout(op.dropout(), pass, pass.firstSequence());
        }
        if (operation instanceof AttentionGradOp op) {
            return dropout(op.forward().dropout(), pass, pass.firstSequence());
        }
        return Random.NONE;
    }

    private static Random dropout(Dropout dropout, Pass pass, long first) {
        if (dropout == null || !pass.training() || dropout.threshold() == 0) {
            return Random.NONE;
        }
        RandomStream stream = dropout.stream();
        return new Random(step(stream), stream.seed(), stream.purpose(), dropout.threshold(), dropout.scale(), first);
    }

    private static long step(RandomStream stream) {
        return DeviceStorage.address(Arguments.pointer(stream.step()));
    }

    private static Cost cost(Operation operation, Pass pass) {
        if (operation instanceof LinearOp op) {
            return new Cost(0, products(1, pass, op.in(), op.out()));
        }
        if (operation instanceof LinearGradOp op) {
            // the sums of a tile of rows for each warp
            return new Cost(TILE * THREADS, products(op.dx() == null ? 1 : 2, pass, op.in(), op.out()));
        }
        if (operation instanceof AttentionOp op) {
            return attentionCost(op.heads(), op.headSize(), pass.length(), pass.length());
        }
        if (operation instanceof AttentionCachedOp op) {
            return attentionCost(op.heads(), op.headSize(), pass.length(), op.context());
        }
        if (operation instanceof AttentionGradOp op) {
            long pairs = (long) pass.length() * pass.length();
            AttentionOp forward = op.forward();
            return new Cost(
                    Math.toIntExact(2 * headsTogether(op, pass) * pairs),
                    6 * forward.heads() * pairs * forward.headSize());
        }
        return Cost.SMALL;
    }

    /** Multiplications of {@code times} products of the rows of a sequence with a matrix. */
    private static long products(int times, Pass pass, int in, int out) {
        return (long) times * (pass.length() + TILE - 1) / TILE * TILE * in * out;
    }

    private static Cost attentionCost(int heads, int headSize, int length, int keys) {
        return new Cost(THREADS / lanes(keys) * keys, 2L * heads * length * keys * headSize);
    }

    /** Lanes for each query: one for each key, at most a warp. */
    private static int lanes(int keys) {
        int lanes = 1;
        while (lanes < Math.min(keys, WARP)) {
            lanes *= 2;
        }
        return lanes;
    }

    private static int headsTogether(AttentionGradOp op, Pass pass) {
        int fitting = LARGEST_SCRATCH / (2 * pass.length() * pass.length());
        return Math.max(1, Math.min(op.forward().heads(), fitting));
    }
}
