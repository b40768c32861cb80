package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.ints;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.backend.cpu.NativeCall.Kernel;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Tensor;
import java.util.Objects;

/** Attention in native code: the bits of {@link JavaAttention}. */
final class NativeAttention extends JavaAttention {
    private static final int MOST_LANES = 16; // floats of a vector
    private static final int MOST_PANEL = 32; // columns that are packed together
    private static final int MOST_TILE = 12; // queries of a tile
    private static final int SHORT = 24; // as in native/cpu/attention.h
    private static final int BLOCK = 96; // as there

    private final Instructions instructions;

    NativeAttention(JavaDropout dropout, Instructions instructions) {
        super(dropout);
        this.instructions = instructions;
    }

    @Override
    void forward(AttentionOp op, Pass pass, int sequence, int count, float[] mask) {
        run(Kernel.ATTENTION, op, pass, sequence, count, mask, null, null);
    }

    @Override
    void backward(AttentionGradOp op, Pass pass, int sequence, int count, float[] mask) {
        run(Kernel.ATTENTION_GRAD, op.forward(), pass, sequence, count, mask, op.dout(), op.dqkv());
    }

    private void run(
            Kernel kernel, AttentionOp op, Pass pass, int sequence, int count, float[] mask, Tensor dout, Tensor dqkv) {
        int t = pass.length();
        int size = op.headSize();
        long rows = (long) t * op.heads(); // of a sequence
        int floats = scratch(t, size);
        Scratch scratch = Scratch.get();
        scratch.call(instructions, kernel)
                .read(op.qkv(), sequence * 3 * rows * size, count * 3 * rows * size)
                .write(op.out(), sequence * rows * size, count * rows * size)
                .write(op.stats(), sequence * 2 * rows, count * 2 * rows)
                .read(mask, count * rows * t)
                .write(scratch.floats(0, floats), floats)
                .read(dout, sequence * rows * size, count * rows * size)
                .write(dqkv, sequence * 3 * rows * size, count * 3 * rows * size)
                .number(count)
                .number(t)
                .number(op.heads())
                .number(size)
                .number(scale(size))
                .run();
    }

    /** Floats of scratch memory. */
    private static int scratch(int t, int size) {
        if (t < SHORT) {
            // q, k, v, out and their gradients; weights and their gradients; the mask; stats
            return Math.multiplyExact(8 * t * size + 3 * t * t + 2 * t, MOST_LANES);
        }
        // keys and values by columns; keys, queries and dout by rows; queries; weights and their gradients
        int columns = Math.multiplyExact(2 * size + 2 * BLOCK, t + MOST_PANEL);
        int rows = Math.multiplyExact(4 * t + MOST_TILE, size + MOST_PANEL);
        return Math.addExact(columns, rows);
    }

    @Override
    void attentionCached(AttentionCachedOp op, Pass pass) {
        op.rows(pass);
        int t = pass.length();
        int size = op.headSize();
        int width = op.heads() * size;
        long rows = (long) pass.batch() * t;
        int position = ints(op.position())[start(op.position())];
        Objects.checkFromIndexSize(position, t, op.context());
        int floats = size + position + t + MOST_LANES;
        Scratch scratch = Scratch.get();
        scratch.call(instructions, Kernel.ATTENTION_CACHED)
                .read(op.qkv(), rows * 3 * width)
                .write(op.out(), rows * width)
                .write(op.cache(), (long) pass.batch() * op.context() * 2 * width)
                .write(scratch.floats(0, floats), floats)
                .number(pass.batch())
                .number(t)
                .number(op.heads())
                .number(size)
                .number(op.context())
                .number(position)
                .number(scale(size))
                .run();
    }
}
