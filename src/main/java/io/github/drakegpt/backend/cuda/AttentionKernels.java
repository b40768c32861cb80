package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.cuda.Arguments.NULL;
import static io.github.drakegpt.backend.cuda.Arguments.active;
import static io.github.drakegpt.backend.cuda.Arguments.mask;
import static io.github.drakegpt.backend.cuda.Arguments.pointer;

import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import jcuda.driver.CUdeviceptr;

/** Attention in float32; that in bfloat16 is {@link Bf16Attention}. */
final class AttentionKernels {
    /** Head sizes of the attention kernels; smaller heads use the next larger one. */
    static final int[] HEAD_SIZES = {8, 16, 32, 64, 128};

    private static final int ROWS_PER_WARP = 4; // with the warps of a block, as in attention.cu

    private final Launcher launcher;
    private final Bf16Attention bf16;

    AttentionKernels(Launcher launcher) {
        this.launcher = launcher;
        this.bf16 = new Bf16Attention(launcher);
    }

    /** The smallest kernel size that a head fits into. */
    static int headKernel(int headSize) {
        for (int size : HEAD_SIZES) {
            if (headSize <= size) {
                return size;
            }
        }
        throw new IllegalArgumentException("A head size of " + headSize + " is not possible on the GPU; the largest is "
                + HEAD_SIZES[HEAD_SIZES.length - 1] + ": use more heads.");
    }

    static float scale(int headSize) {
        return (float) (1 / Math.sqrt(headSize));
    }

    /** A grid whose blocks each compute some rows of one head of one sequence. */
    private static Grid grid(Pass pass, int heads, int headKernel) {
        int warps = Math.min(headKernel > 64 ? 2 : 4, Grid.blocks(pass.length(), ROWS_PER_WARP));
        long tiles = Grid.blocks(pass.length(), ROWS_PER_WARP * warps);
        return new Grid(Math.toIntExact(pass.batch() * heads * tiles), 1, Launcher.WARP, warps);
    }

    private static boolean isBf16(Tensor qkv) {
        return qkv.dtype() == DType.BF16;
    }

    void attention(AttentionOp op, Pass pass) {
        op.rows(pass);
        if (isBf16(op.qkv())) {
            bf16.attention(op, pass);
            return;
        }
        int t = pass.length();
        int kernel = headKernel(op.headSize());
        int width = op.out().shape().columns();
        CUdeviceptr q = pointer(op.qkv());
        CUdeviceptr k = q.withByteOffset((long) width * Float.BYTES);
        CUdeviceptr v = q.withByteOffset(2L * width * Float.BYTES);
        launcher.launch(
                "attention",
                "attention_f32_" + kernel,
                grid(pass, op.heads(), kernel),
                new Object[] {q, k, v, pointer(op.out()), pointer(op.stats()), NULL},
                new Object[] {t, op.heads(), op.headSize(), 3 * width, 3 * width, t, scale(op.headSize())},
                mask(pass.firstSequence(), active(op.dropout(), pass)));
    }

    void attentionGrad(AttentionGradOp op, Pass pass) {
        int rows = op.rows(pass);
        AttentionOp forward = op.forward();
        if (isBf16(forward.qkv())) {
            bf16.attentionGrad(op, pass);
            return;
        }
        int headSize = forward.headSize();
        int kernel = headKernel(headSize);
        CUdeviceptr qkv = pointer(forward.qkv());
        CUdeviceptr stats = pointer(forward.stats());
        CUdeviceptr dout = pointer(op.dout());
        CUdeviceptr dqkv = pointer(op.dqkv());
        CUdeviceptr products = launcher.scratch((long) rows * forward.heads() * Float.BYTES); // (B, H, T)
        Object[] ofQueries = {qkv, pointer(forward.out()), stats, dout, dqkv, products};
        Object[] ofKeys = {qkv, stats, dout, products, dqkv};
        Object[] heads = {pass.length(), forward.heads(), headSize, scale(headSize)};
        Object[] mask = mask(pass.firstSequence(), active(forward.dropout(), pass));
        Grid grid = grid(pass, forward.heads(), kernel);
        launcher.launch("attention", "attention_grad_q_f32_" + kernel, grid, ofQueries, heads, mask);
        launcher.launch("attention", "attention_grad_kv_f32_" + kernel, grid, ofKeys, heads, mask);
    }

    void attentionCached(AttentionCachedOp op, Pass pass) {
        op.rows(pass);
        if (isBf16(op.qkv())) {
            bf16.attentionCached(op, pass);
            return;
        }
        int kernel = headKernel(op.headSize());
        int width = op.out().shape().columns();
        CUdeviceptr q = pointer(op.qkv());
        CUdeviceptr k = cache(op, pass);
        CUdeviceptr v = k.withByteOffset((long) width * Float.BYTES);
        append(launcher, FloatType.F32, op, pass);
        launcher.launch(
                "attention",
                "attention_f32_" + kernel,
                grid(pass, op.heads(), kernel),
                new Object[] {q, k, v, pointer(op.out()), NULL, pointer(op.position())},
                new Object[] {pass.length(), op.heads(), op.headSize(), 3 * width, 2 * width, op.context()},
                scale(op.headSize()),
                mask(0, null));
    }

    /** Address of the cache, which must have room for the sequences of the pass. */
    static CUdeviceptr cache(AttentionCachedOp op, Pass pass) {
        Shape shape = op.cache().shape();
        return DeviceStorage.pointer(op.cache(), (long) pass.batch() * op.context() * shape.columns());
    }

    /** Writes keys and values of the new tokens into the cache. */
    static void append(Launcher launcher, FloatType type, AttentionCachedOp op, Pass pass) {
        int width = op.out().shape().columns();
        Grid grid = Grid.of((long) pass.rows() * 2 * width, 1);
        Object[] operands = {pointer(op.qkv()), cache(op, pass), pointer(op.position())};
        Object[] sizes = {pass.batch(), pass.length(), op.context(), width};
        launcher.launch("attention", "append" + type.suffix(), grid, operands, sizes);
    }
}
