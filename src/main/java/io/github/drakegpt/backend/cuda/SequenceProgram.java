package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.backend.cuda.SequenceOperation.Access;
import io.github.drakegpt.backend.cuda.SequenceOperation.Operand;
import io.github.drakegpt.backend.cuda.SequenceOperation.Part;
import io.github.drakegpt.backend.cuda.SequenceOperation.Random;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.OutOfMemoryException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongFunction;
import java.util.stream.Stream;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;

/**
 * A stretch of operations as {@code sequence.cu} takes it: one launch for all of them, one for the sums over the sequences if
 * there are any, and one for AdamW if it follows.
 *
 * <p>Each sequence writes gradients of its own, laid out as those of all; they are added up in the order of the sequences.
 * Rows that the stretch itself writes before it reads them have a copy in shared memory, as long as there is room; they are
 * written to memory too, so that nobody needs to know who else reads them.
 */
final class SequenceProgram implements AutoCloseable {
    /** Of the kernels that work on stretches. */
    static final String FILE = "sequence";

    private static final int OPERATION_BYTES = 192; // as in sequence.cu
    private static final int POINTERS = 10;
    private static final int SIZES = 6;
    private static final int WARP = 32;
    private static final int WARPS = 8;
    private static final int SUM_THREADS = 256;
    /** Floats of 16 bytes. */
    private static final int QUAD = 4;
    /** Shared memory that the kernel declares itself, and what CUDA keeps of a block's. */
    private static final int RESERVED_BYTES = 2048;

    // Predictions for an H200, not measured: they only have to tell small models from others.
    private static final double MICROS_PER_LAUNCH = 2;
    private static final double MICROS_PER_OPERATION = 0.3;
    private static final double MULTIPLICATIONS_PER_MICRO = 80_000; // of one block
    private static final double BYTES_PER_MICRO = 2e6;

    private final CudaContext context;
    private final Kernels kernels;
    private final Stretch.Work work;
    private final CUdeviceptr memory; // operations, bits of the gradients that are written, addresses of the losses
    private final int sharedBytes;

    private final List<Operand> losses;
    private final long grads; // address of the first element that is added up
    private final int gradCount; // 0: there are no gradients
    private final long stride; // from the gradients of a sequence to the next one's
    private final CUdeviceptr parts; // (B, stride) gradients, (losses, B, T), then a sum of squares for each block

    /** Says whether one launch is expected to be faster than one for each operation. */
    static boolean pays(Stretch.Work work, CudaContext context) {
        if (work.operations().stream().map(SequenceOperation::kind).distinct().count() == 1) {
            return false; // no model does one thing only: it is an operation's own time that is measured
        }
        double alone = 0;
        double together = 0;
        for (SequenceOperation operation : work.operations()) {
            alone += operation.kind().launches * MICROS_PER_LAUNCH;
            together += MICROS_PER_OPERATION + operation.multiplications() / MULTIPLICATIONS_PER_MICRO;
        }
        together *= Grid.blocks(work.batch(), context.multiprocessors());
        // parts are written and read again, also where gradients lie far from each other
        together +=
                2 * MICROS_PER_LAUNCH + 2.0 * work.batch() * work.gradients().bytes() / BYTES_PER_MICRO;
        return together < alone;
    }

    /**
     * @param scratch gives memory that operations use one after another
     * @throws OutOfMemoryException if there is too little
     */
    SequenceProgram(
            CudaContext context,
            Kernels kernels,
            Staging staging,
            LongFunction<CUdeviceptr> scratch,
            Stretch.Work work) {
        this.context = context;
        this.kernels = kernels;
        this.work = work;
        this.losses = operands(Part.LOSS).toList();
        this.grads = work.gradients().address();
        this.gradCount = Math.toIntExact(work.gradients().bytes() / Float.BYTES);
        this.stride = (gradCount + QUAD - 1L) / QUAD * QUAD;
        long floats = work.batch() * stride + lossRows() + gradBlocks();
        this.parts = floats == 0 ? new CUdeviceptr() : scratch.apply(floats * Float.BYTES);

        Map<Operand, Integer> places = new HashMap<>();
        this.sharedBytes = place(places, context.sharedMemory() - RESERVED_BYTES);
        byte[] program = encode(places);
        this.memory = context.allocate(program.length, "a list of operations");
        try {
            staging.write(memory, DType.I8, program, 0, program.length);
        } catch (RuntimeException e) {
            context.free(memory);
            throw e;
        }
    }

    private Stream<Operand> operands(Part part) {
        return work.operands().filter(operand -> operand.part() == part);
    }

    private long lossRows() {
        return (long) losses.size() * work.batch() * work.length();
    }

    private int gradBlocks() {
        return Grid.blocks(gradCount, SUM_THREADS);
    }

    // ---------------------------------------------------------------------------------------------- the list

    /** Gives rows their places in shared memory, behind the operations' scratch; how many bytes are used. */
    private int place(Map<Operand, Integer> places, int mostBytes) {
        int used = 0;
        for (SequenceOperation operation : work.operations()) {
            used = Math.max(used, operation.scratch());
        }
        used = (used + QUAD - 1) / QUAD * QUAD;
        for (SequenceOperation operation : work.operations()) {
            // what is read first lies in memory only
            for (Access access : new Access[] {Access.READ, Access.UPDATE, Access.WRITE}) {
                for (Operand operand : operation.operands()) {
                    if (operand.access() != access || !operand.placeable() || places.containsKey(tensor(operand))) {
                        continue;
                    }
                    int rowStride = rowStride(operand);
                    int floats = (work.length() * rowStride + QUAD - 1) / QUAD * QUAD;
                    boolean fits = access == Access.WRITE
                            && rowStride < 1 << 15
                            && (long) (used + floats) * Float.BYTES <= mostBytes;
                    places.put(tensor(operand), fits ? rowStride << 16 | used / QUAD : -1);
                    used += fits ? floats : 0;
                }
            }
        }
        return used * Float.BYTES;
    }

    /** The operand without what is done with it. */
    private static Operand tensor(Operand operand) {
        return new Operand(operand.part(), Access.READ, operand.address(), operand.bytes(), operand.width());
    }

    /** Odd in units of 16 bytes, so that neighbouring rows lie in different banks. */
    private static int rowStride(Operand operand) {
        return operand.part() == Part.ELEMENTS ? operand.width() : ((operand.width() + QUAD - 1) / QUAD | 1) * QUAD;
    }

    private byte[] encode(Map<Operand, Integer> places) {
        long operationBytes = (long) work.operations().size() * OPERATION_BYTES;
        int maskWords = Grid.blocks(gradCount, Integer.SIZE);
        long bytes = operationBytes + 16L * Grid.blocks(maskWords, QUAD) + (long) losses.size() * Long.BYTES;
        ByteBuffer program = ByteBuffer.allocate(Math.toIntExact(bytes)).order(ByteOrder.nativeOrder());
        long lossAddress = DeviceStorage.address(parts) + work.batch() * stride * Float.BYTES;
        for (SequenceOperation operation : work.operations()) {
            List<Operand> operands = operation.operands();
            for (int i = 0; i < POINTERS - 1; i++) {
                Operand operand = i < operands.size() ? operands.get(i) : Operand.NONE;
                switch (operand.part()) {
                    case GRADIENT -> program.putLong(DeviceStorage.address(parts) + operand.address() - grads);
                    case LOSS -> {
                        program.putLong(lossAddress);
                        lossAddress += (long) work.batch() * work.length() * Float.BYTES;
                    }
                    default -> program.putLong(operand.address());
                }
            }
            Random random = operation.random();
            program.putLong(random.step().address());
            for (int i = 0; i < POINTERS; i++) {
                boolean placed = i < operands.size() && operands.get(i).placeable();
                program.putInt(placed ? places.get(tensor(operands.get(i))) : -1);
            }
            program.putLong(random.seed()).putLong(random.first());
            program.putInt(operation.kind().ordinal()).putInt(random.purpose());
            program.putInt(random.threshold()).putFloat(random.scale());
            for (int i = 0; i < SIZES; i++) {
                program.putInt(i < operation.sizes().size() ? operation.sizes().get(i) : 0);
            }
            program.putFloat(operation.number()).putInt(0).putLong(0);
        }
        operands(Part.GRADIENT).forEach(operand -> {
            int from = (int) ((operand.address() - grads) / Float.BYTES);
            for (int i = from; i < from + operand.bytes() / Float.BYTES; i++) {
                int at = (int) operationBytes + i / Integer.SIZE * Integer.BYTES;
                program.putInt(at, program.getInt(at) | 1 << i % Integer.SIZE);
            }
        });
        program.position((int) operationBytes + 16 * Grid.blocks(maskWords, QUAD));
        losses.forEach(loss -> program.putLong(loss.address()));
        return program.array();
    }

    // ---------------------------------------------------------------------------------------------- running

    /** Does the work. */
    void launch() {
        kernels.launch(
                FILE,
                "sequence_f32",
                new Grid(work.batch(), 1, WARP, WARPS, sharedBytes),
                memory,
                work.operations().size(),
                work.length(),
                stride);
        if (gradCount == 0 && losses.isEmpty()) {
            return;
        }
        long operationBytes = (long) work.operations().size() * OPERATION_BYTES;
        long lossOffset = work.batch() * stride * Float.BYTES;
        CUdeviceptr mask = memory.withByteOffset(operationBytes);
        CUdeviceptr squares = parts.withByteOffset(lossOffset + lossRows() * Float.BYTES);
        kernels.launch(
                FILE,
                "sequence_sums_f32",
                new Grid(gradBlocks() + losses.size(), 1, SUM_THREADS, 1),
                parts,
                stride,
                work.batch(),
                mask,
                grads,
                gradCount,
                work.norm() == null ? new Pointer() : squares,
                parts.withByteOffset(lossOffset),
                mask.withByteOffset(16L * Grid.blocks(Grid.blocks(gradCount, Integer.SIZE), QUAD)),
                work.batch() * work.length());
        if (work.norm() == null) {
            return;
        }
        if (work.adamW() == null) {
            kernels.launch(
                    "adamw",
                    "root_f32",
                    new Grid(1, 1, WARP, 1),
                    squares,
                    work.norm().norm(),
                    gradBlocks());
            return;
        }
        Stretch.AdamW adamW = work.adamW();
        AdamWSettings settings = adamW.settings();
        kernels.launch(
                "adamw",
                "adamw_squares_f32",
                Grid.of(gradCount, QUAD),
                adamW.params(),
                grads,
                adamW.firstMoments(),
                adamW.secondMoments(),
                adamW.learningRate(),
                adamW.step(),
                squares,
                gradBlocks(),
                work.norm().norm(),
                settings.beta1(),
                settings.beta2(),
                settings.eps(),
                settings.weightDecay(),
                settings.clip(),
                gradCount);
    }

    @Override
    public void close() {
        context.free(memory);
    }
}
