package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.cuda.Arguments.pointer;
import static io.github.drakegpt.backend.cuda.Arguments.pointers;

import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.backend.cuda.SequenceOp.Argument;
import io.github.drakegpt.backend.cuda.SequenceOp.Part;
import io.github.drakegpt.backend.cuda.SequenceOp.Random;
import io.github.drakegpt.backend.cuda.SequenceRegion.Segment;
import io.github.drakegpt.ops.Access;
import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.OutOfMemoryException;
import io.github.drakegpt.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import jcuda.driver.CUdeviceptr;

/**
 * A segment of a region, compiled for {@code sequence.cu}: one launch for all its operations, one for the sums over the
 * sequences if there are any, and one for AdamW if it follows.
 *
 * <p>Each sequence writes its own gradients, laid out like the parameters'; they are summed in the order of the
 * sequences. Rows that the segment writes before it reads them have a copy in shared memory, as long as there is room;
 * they are also written to global memory, for later readers.
 */
final class SequenceProgram implements AutoCloseable {
    /** File of its kernels. */
    static final String FILE = "sequence";

    static final int OPERATION_BYTES = 192;
    static final int POINTERS = 10;
    static final int SIZES = 6;
    private static final int WARP = 32;
    private static final int WARPS = 8;
    private static final int SUM_THREADS = 256;
    /** Number of floats in 16 bytes. */
    private static final int QUAD = 4;
    /** Shared memory that the kernel declares, and that CUDA reserves in each block. */
    private static final int RESERVED_BYTES = 2048;

    private final CudaContext context;
    private final Kernels kernels;
    private final Segment segment;
    private final int batch;
    private final int length;
    private final CUdeviceptr memory; // operations, bits of the gradients that are written, addresses of the losses
    private final int sharedBytes;

    private final List<Argument> losses;
    private final long grads; // address of the first element of the summed range
    private final int gradCount; // 0: there are no gradients
    private final long stride; // from the gradients of a sequence to the next one's
    private final CUdeviceptr parts; // (B, stride) gradients, (losses, B, T), then a sum of squares for each block

    /** @throws OutOfMemoryException if there is too little memory */
    SequenceProgram(CudaResources resources, Segment segment) {
        this.context = resources.context();
        this.kernels = resources.kernels();
        this.segment = segment;
        this.batch = segment.pass().batch();
        this.length = segment.pass().length();
        this.losses = arguments(Part.LOSS).toList();
        Range gradients = gradients(segment);
        this.grads = gradients.address();
        this.gradCount = Math.toIntExact(gradients.bytes() / Float.BYTES);
        this.stride = (gradCount + QUAD - 1L) / QUAD * QUAD;
        long floats = batch * stride + lossRows() + gradBlocks();
        this.parts = floats == 0 ? new CUdeviceptr() : resources.scratch().of(floats * Float.BYTES);

        Map<Argument, Integer> places = new HashMap<>();
        this.sharedBytes = assignSharedMemory(places, context.sharedMemory() - RESERVED_BYTES);
        byte[] program = encode(places);
        this.memory = context.allocate(program.length, "a list of operations");
        try {
            resources.staging().write(memory, DType.I8, program, 0, program.length);
        } catch (RuntimeException e) {
            context.free(memory);
            throw e;
        }
    }

    /** A range of device memory. */
    record Range(long address, long bytes) {}

    /** The range of gradients to sum: the operand of the norm, or, without one, from the first gradient to the last. */
    static Range gradients(Segment segment) {
        if (segment.gradNorm() != null) {
            Tensor x = segment.gradNorm().x();
            return new Range(DeviceStorage.address(Arguments.pointer(x)), x.size() * Float.BYTES);
        }
        long from = Long.MAX_VALUE;
        long to = 0;
        for (Argument argument : (Iterable<Argument>) arguments(segment)::iterator) {
            if (argument.part() == Part.GRADIENT) {
                from = Math.min(from, argument.address());
                to = Math.max(to, argument.address() + argument.bytes());
            }
        }
        return to == 0 ? new Range(0, 0) : new Range(from, to - from);
    }

    private static Stream<Argument> arguments(Segment segment) {
        return segment.operations().stream().flatMap(operation -> operation.arguments().stream());
    }

    private Stream<Argument> arguments(Part part) {
        return arguments(segment).filter(argument -> argument.part() == part);
    }

    private long lossRows() {
        return (long) losses.size() * batch * length;
    }

    private int gradBlocks() {
        return Grid.blocks(gradCount, SUM_THREADS);
    }

    // ---------------------------------------------------------------------------------------------- the list

    /** Assigns shared memory to rows, after the operations' scratch, and returns the bytes used. */
    private int assignSharedMemory(Map<Argument, Integer> places, int mostBytes) {
        int used = 0;
        for (SequenceOp operation : segment.operations()) {
            used = Math.max(used, operation.cost().scratch());
        }
        used = (used + QUAD - 1) / QUAD * QUAD;
        for (SequenceOp operation : segment.operations()) {
            // tensors that are read first stay in global memory only
            for (Access access : new Access[] {Access.READ, Access.UPDATE, Access.WRITE}) {
                for (Argument argument : operation.arguments()) {
                    if (argument.access() != access || !argument.placeable() || places.containsKey(tensor(argument))) {
                        continue;
                    }
                    int rowStride = rowStride(argument);
                    int floats = (length * rowStride + QUAD - 1) / QUAD * QUAD;
                    boolean fits = access == Access.WRITE
                            && rowStride < 1 << 15
                            && (long) (used + floats) * Float.BYTES <= mostBytes;
                    places.put(tensor(argument), fits ? rowStride << 16 | used / QUAD : -1);
                    used += fits ? floats : 0;
                }
            }
        }
        return used * Float.BYTES;
    }

    /** The argument without its access, to identify the tensor. */
    private static Argument tensor(Argument argument) {
        return new Argument(argument.part(), Access.READ, argument.address(), argument.bytes(), argument.width());
    }

    /** Odd in units of 16 bytes, so that neighbouring rows lie in different banks. */
    private static int rowStride(Argument argument) {
        return argument.part() == Part.ELEMENTS ? argument.width() : ((argument.width() + QUAD - 1) / QUAD | 1) * QUAD;
    }

    private byte[] encode(Map<Argument, Integer> places) {
        long operationBytes = (long) segment.operations().size() * OPERATION_BYTES;
        int maskWords = Grid.blocks(gradCount, Integer.SIZE);
        long bytes = operationBytes + 16L * Grid.blocks(maskWords, QUAD) + (long) losses.size() * Long.BYTES;
        ByteBuffer program = ByteBuffer.allocate(Math.toIntExact(bytes)).order(ByteOrder.nativeOrder());
        long lossAddress = DeviceStorage.address(parts) + batch * stride * Float.BYTES;
        for (SequenceOp operation : segment.operations()) {
            List<Argument> arguments = operation.arguments();
            for (int i = 0; i < POINTERS - 1; i++) {
                Argument argument = i < arguments.size() ? arguments.get(i) : Argument.NONE;
                switch (argument.part()) {
                    case GRADIENT -> program.putLong(DeviceStorage.address(parts) + argument.address() - grads);
                    case LOSS -> {
                        program.putLong(lossAddress);
                        lossAddress += (long) batch * length * Float.BYTES;
                    }
                    default -> program.putLong(argument.address());
                }
            }
            Random random = operation.random();
            program.putLong(random.step());
            for (int i = 0; i < POINTERS; i++) {
                boolean placed = i < arguments.size() && arguments.get(i).placeable();
                program.putInt(placed ? places.get(tensor(arguments.get(i))) : -1);
            }
            program.putLong(random.seed()).putLong(random.first());
            program.putInt(operation.kind().ordinal()).putInt(random.purpose());
            program.putInt(random.threshold()).putFloat(random.scale());
            for (int i = 0; i < SIZES; i++) {
                program.putInt(i < operation.sizes().size() ? operation.sizes().get(i) : 0);
            }
            program.putFloat(operation.number()).putInt(0).putLong(0);
        }
        arguments(Part.GRADIENT).forEach(argument -> {
            int from = (int) ((argument.address() - grads) / Float.BYTES);
            for (int i = from; i < from + argument.bytes() / Float.BYTES; i++) {
                int at = (int) operationBytes + i / Integer.SIZE * Integer.BYTES;
                program.putInt(at, program.getInt(at) | 1 << i % Integer.SIZE);
            }
        });
        program.position((int) operationBytes + 16 * Grid.blocks(maskWords, QUAD));
        losses.forEach(loss -> program.putLong(loss.address()));
        return program.array();
    }

    // ---------------------------------------------------------------------------------------------- running

    /** Launches the program. */
    void launch() {
        int operations = segment.operations().size();
        Grid sequences = new Grid(batch, 1, WARP, WARPS, sharedBytes);
        kernels.launch(FILE, "sequence_f32", sequences, memory, operations, length, stride);
        if (gradCount == 0 && losses.isEmpty()) {
            return;
        }
        boolean norm = segment.gradNorm() != null;
        long lossOffset = batch * stride * Float.BYTES;
        CUdeviceptr lossParts = parts.withByteOffset(lossOffset);
        CUdeviceptr squares = parts.withByteOffset(lossOffset + lossRows() * Float.BYTES);
        CUdeviceptr mask = memory.withByteOffset((long) operations * OPERATION_BYTES);
        CUdeviceptr totals = mask.withByteOffset(16L * Grid.blocks(Grid.blocks(gradCount, Integer.SIZE), QUAD));
        Object[] ofGradients = {parts, stride, batch, mask, grads, gradCount, norm ? squares : Arguments.NULL};
        Grid sums = new Grid(gradBlocks() + losses.size(), 1, SUM_THREADS, 1);
        kernels.launch(FILE, "sequence_sums_f32", sums, ofGradients, lossParts, totals, batch * length);
        if (norm) {
            launchNorm(squares);
        }
    }

    /** Computes the norm from the sums of squares, and a step of AdamW if it follows. */
    private void launchNorm(CUdeviceptr squares) {
        CUdeviceptr norm = pointer(segment.gradNorm().norm());
        AdamWOp adamW = segment.adamW();
        if (adamW == null) {
            kernels.launch("adamw", "root_f32", new Grid(1, 1, WARP, 1), squares, norm, gradBlocks());
            return;
        }
        AdamWOp.State state = adamW.state();
        kernels.launch(
                "adamw",
                "adamw_squares_f32",
                Grid.of(gradCount, QUAD),
                new Object[] {pointer(state.params()), grads},
                pointers(state.firstMoments(), state.secondMoments(), adamW.learningRate(), adamW.step()),
                new Object[] {squares, gradBlocks(), norm},
                OptimizerKernels.constants(adamW.settings()),
                gradCount);
    }

    @Override
    public void close() {
        context.free(memory);
    }
}
