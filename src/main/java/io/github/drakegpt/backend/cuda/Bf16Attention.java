package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.cuda.Arguments.NULL;
import static io.github.drakegpt.backend.cuda.Arguments.active;
import static io.github.drakegpt.backend.cuda.Arguments.mask;
import static io.github.drakegpt.backend.cuda.Arguments.pointer;

import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.DType;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;

/** Attention in bfloat16, on the tensor cores: launches {@code attention_bf16.cu}. */
final class Bf16Attention {
    private static final String FILE = "attention_bf16";
    private static final int WARPS = 4; // as in attention_bf16.cu
    private static final int ROWS = 16; // of a warp
    private static final int KEYS = 32; // whose dropout decisions fill a word
    private static final int CACHED_WARPS = 8;
    private static final int SMALLEST_HEAD = 16; // of the kernels; smaller heads use it
    /** Maximum new tokens for which each query has its own block, which reads all keys. */
    private static final int FEW = 8;

    private final Launcher launcher;

    Bf16Attention(Launcher launcher) {
        this.launcher = launcher;
    }

    private void launch(String kernel, Grid grid, int headSize, Object... arguments) {
        int size = Math.max(SMALLEST_HEAD, AttentionKernels.headKernel(headSize));
        launcher.launch(FILE, kernel + size, grid, arguments);
    }

    /** A grid whose blocks each compute some rows of one head of one sequence. */
    private static Grid grid(Pass pass, int heads) {
        int blocks = Math.multiplyExact(pass.batch() * heads, Grid.blocks(pass.length(), ROWS * WARPS));
        return new Grid(blocks, 1, Launcher.WARP, WARPS);
    }

    /** The address {@code elements} further on. */
    private static CUdeviceptr behind(CUdeviceptr pointer, long elements) {
        return pointer.withByteOffset(elements * DType.BF16.bytes());
    }

    void attention(AttentionOp op, Pass pass) {
        int t = pass.length();
        int headSize = op.headSize();
        int width = op.out().shape().columns();
        CUdeviceptr q = pointer(op.qkv());
        Object[] operands = {q, behind(q, width), behind(q, 2L * width), pointer(op.out()), pointer(op.stats()), NULL};
        Object[] sizes = {t, op.heads(), headSize, 3 * width, 3 * width, t, AttentionKernels.scale(headSize)};
        Object[] mask = mask(pass.firstSequence(), active(op.dropout(), pass));
        launch("attention_bf16_", grid(pass, op.heads()), headSize, operands, sizes, mask);
    }

    void attentionGrad(AttentionGradOp op, Pass pass) {
        AttentionOp forward = op.forward();
        int headSize = forward.headSize();
        long queries = (long) pass.rows() * forward.heads();
        Dropout dropout = active(forward.dropout(), pass);
        // (B, H, T, 2) in float32, then a bit for each pair of query and key
        long keptBytes = dropout == null ? 0 : queries * Grid.blocks(pass.length(), KEYS) * (KEYS / Byte.SIZE);
        CUdeviceptr ofQueries = launcher.scratch(2 * queries * Float.BYTES + keptBytes);
        Pointer kept = dropout == null ? NULL : ofQueries.withByteOffset(2 * queries * Float.BYTES);
        CUdeviceptr qkv = pointer(forward.qkv());
        CUdeviceptr dout = pointer(op.dout());
        CUdeviceptr dqkv = pointer(op.dqkv());
        Object[] saved = {qkv, pointer(forward.out()), pointer(forward.stats())};
        Object[] sizes = {pass.length(), forward.heads(), headSize, AttentionKernels.scale(headSize)};
        Object[] mask = mask(pass.firstSequence(), dropout);
        float keptScale = dropout == null ? 1f : dropout.scale();
        Grid grid = grid(pass, forward.heads());
        launch("attention_grad_q_bf16_", grid, headSize, saved, dout, dqkv, ofQueries, kept, sizes, mask);
        launch("attention_grad_kv_bf16_", grid, headSize, qkv, dout, ofQueries, kept, dqkv, sizes, keptScale);
    }

    void attentionCached(AttentionCachedOp op, Pass pass) {
        int t = pass.length();
        int headSize = op.headSize();
        int width = op.out().shape().columns();
        float scale = AttentionKernels.scale(headSize);
        CUdeviceptr q = pointer(op.qkv());
        CUdeviceptr cache = AttentionKernels.cache(op, pass);
        CUdeviceptr out = pointer(op.out());
        CUdeviceptr position = pointer(op.position());
        if (t <= FEW) {
            Grid grid = new Grid(Math.multiplyExact(pass.rows(), op.heads()), 1, Launcher.WARP, CACHED_WARPS);
            Object[] sizes = {t, op.context(), op.heads(), headSize, scale};
            launch("attention_cached_bf16_", grid, headSize, q, cache, position, out, sizes);
            return;
        }
        AttentionKernels.append(launcher, FloatType.BF16, op, pass);
        Object[] operands = {q, cache, behind(cache, width), out, NULL, position};
        Object[] sizes = {t, op.heads(), headSize, 3 * width, 2 * width, op.context(), scale};
        launch("attention_bf16_", grid(pass, op.heads()), headSize, operands, sizes, mask(0, null));
    }
}
