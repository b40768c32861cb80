package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Tensor;
import java.util.function.LongFunction;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;

/** Launches the attention of {@code attention_bf16.cu}, on the tensor cores. Shapes and arguments are {@link Backend}'s. */
final class Bf16Attention {
    private static final String FILE = "attention_bf16";
    private static final int WARP = 32;
    private static final int WARPS = 4; // as in attention_bf16.cu
    private static final int ROWS = 16; // of a warp
    private static final int KEYS = 32; // whose decisions of dropout are a word
    private static final int CACHED_WARPS = 8;
    private static final int SMALLEST_HEAD = 16; // of the kernels; smaller heads take it
    /** New tokens up to which each of their queries gets a block, which reads all keys. */
    private static final int FEW = 8;

    private static final Pointer NULL = new CUdeviceptr();

    private final Kernels kernels;
    private final LongFunction<CUdeviceptr> scratch;

    /** @param scratch gives device memory of so many bytes that an operation uses until it is done */
    Bf16Attention(Kernels kernels, LongFunction<CUdeviceptr> scratch) {
        this.kernels = kernels;
        this.scratch = scratch;
    }

    private static CUdeviceptr bf16(Tensor tensor, long elements) {
        return DeviceStorage.pointer(tensor, DType.BF16, elements);
    }

    private static CUdeviceptr f32(Tensor tensor, long elements) {
        return DeviceStorage.pointer(tensor, DType.F32, elements);
    }

    /** What lies {@code elements} behind. */
    private static CUdeviceptr behind(CUdeviceptr pointer, long elements) {
        return pointer.withByteOffset(elements * DType.BF16.bytes());
    }

    private static int headKernel(int headSize) {
        return Math.max(SMALLEST_HEAD, CudaBackend.headKernel(headSize));
    }

    private void launch(String kernel, Grid grid, int headSize, Object... arguments) {
        kernels.launch(FILE, kernel + headKernel(headSize), grid, arguments);
    }

    /** Blocks that each own some rows of one head of one sequence. */
    private static Grid grid(int batch, int t, int heads) {
        return new Grid(Math.multiplyExact(batch * heads, Grid.blocks(t, ROWS * WARPS)), 1, WARP, WARPS);
    }

    void forward(
            Tensor qkv,
            Tensor out,
            Tensor stats,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize) {
        int width = heads * headSize;
        long rows = (long) batch * t;
        CUdeviceptr q = bf16(qkv, rows * 3 * width);
        launch(
                "attention_bf16_",
                grid(batch, t, heads),
                headSize,
                q,
                behind(q, width),
                behind(q, 2L * width),
                bf16(out, rows * width),
                f32(stats, 2 * rows * heads),
                NULL,
                t,
                heads,
                headSize,
                3 * width,
                3 * width,
                t,
                CudaBackend.attentionScale(headSize),
                firstSequence,
                CudaBackend.dropout(dropout));
    }

    void grad(
            Tensor qkv,
            Tensor out,
            Tensor stats,
            Tensor dout,
            Tensor dqkv,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize) {
        int width = heads * headSize;
        long rows = (long) batch * t;
        long queries = rows * heads;
        // (B, H, T, 2) in float32, then for each query a bit for each key
        long keptBytes = dropout == null ? 0 : queries * Grid.blocks(t, KEYS) * (KEYS / Byte.SIZE);
        CUdeviceptr ofQueries = scratch.apply(2 * queries * Float.BYTES + keptBytes);
        Pointer kept = dropout == null ? NULL : ofQueries.withByteOffset(2 * queries * Float.BYTES);
        Grid grid = grid(batch, t, heads);
        float scale = CudaBackend.attentionScale(headSize);
        launch(
                "attention_grad_q_bf16_",
                grid,
                headSize,
                bf16(qkv, rows * 3 * width),
                bf16(out, rows * width),
                f32(stats, 2 * queries),
                bf16(dout, rows * width),
                bf16(dqkv, rows * 3 * width),
                ofQueries,
                kept,
                t,
                heads,
                headSize,
                scale,
                firstSequence,
                CudaBackend.dropout(dropout));
        launch(
                "attention_grad_kv_bf16_",
                grid,
                headSize,
                bf16(qkv, rows * 3 * width),
                bf16(dout, rows * width),
                ofQueries,
                kept,
                bf16(dqkv, rows * 3 * width),
                t,
                heads,
                headSize,
                scale,
                dropout == null ? 1f : dropout.scale());
    }

    void cached(
            Tensor qkv,
            Tensor cache,
            Tensor position,
            Tensor out,
            int batch,
            int t,
            int context,
            int heads,
            int headSize) {
        int width = heads * headSize;
        long rows = (long) batch * t;
        CUdeviceptr q = bf16(qkv, rows * 3 * width);
        CUdeviceptr keys = bf16(cache, (long) batch * context * 2 * width);
        CUdeviceptr outs = bf16(out, rows * width);
        CUdeviceptr begin = DeviceStorage.pointer(position, DType.I32, 1);
        float scale = CudaBackend.attentionScale(headSize);
        if (t <= FEW) {
            launch(
                    "attention_cached_bf16_",
                    new Grid(Math.toIntExact(rows * heads), 1, WARP, CACHED_WARPS),
                    headSize,
                    q,
                    keys,
                    begin,
                    outs,
                    t,
                    context,
                    heads,
                    headSize,
                    scale);
            return;
        }
        kernels.launch(
                "attention", "append_bf16", Grid.of(rows * 2 * width, 1), q, keys, begin, batch, t, context, width);
        launch(
                "attention_bf16_",
                grid(batch, t, heads),
                headSize,
                q,
                keys,
                behind(keys, width),
                outs,
                NULL,
                begin,
                t,
                heads,
                headSize,
                3 * width,
                2 * width,
                context,
                scale,
                0L,
                CudaBackend.dropout(null));
    }
}
