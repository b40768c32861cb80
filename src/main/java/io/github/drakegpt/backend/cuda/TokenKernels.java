package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.cuda.Arguments.NULL;
import static io.github.drakegpt.backend.cuda.Arguments.orNull;
import static io.github.drakegpt.backend.cuda.Arguments.pointer;
import static io.github.drakegpt.backend.cuda.Arguments.pointers;
import static io.github.drakegpt.backend.cuda.Arguments.stream;

import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.ops.AppendOp;
import io.github.drakegpt.ops.EmbeddingGradOp;
import io.github.drakegpt.ops.EmbeddingOp;
import io.github.drakegpt.ops.GatherBatchOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.SampleOp;
import io.github.drakegpt.ops.Sampling;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;

/** Operations on tokens: drawing batches, embeddings, sampling. */
final class TokenKernels {
    /** Minimum rows for a partial sum of the token table's gradient: a block checks all of them, and adds some. */
    private static final int EMBEDDING_ROWS = 512;

    private final Launcher launcher;

    TokenKernels(Launcher launcher) {
        this.launcher = launcher;
    }

    void gatherBatch(GatherBatchOp op, Pass pass) {
        int rows = op.rows(pass);
        int length = pass.length();
        CUdeviceptr corpus = DeviceStorage.pointer(op.corpus(), length + 1L);
        Object[] draw = {Math.toIntExact(op.corpus().size()), stream(op.stream()), pass.firstSequence()};
        Object[] batch = {pointers(op.x(), op.y()), pass.batch(), length};
        launcher.launch("gather", "gather_batch", Grid.of(rows, 1), corpus, draw, batch);
    }

    void embedding(EmbeddingOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        FloatType type = FloatType.of(op.out());
        Pointer wpe = op.wpe() == null ? NULL : DeviceStorage.pointer(op.wpe(), (long) pass.length() * c);
        Pointer position = pass.cached() ? orNull(op.position()) : NULL;
        Grid grid = Grid.of((long) rows * Grid.blocks(c, type.pack()), 1);
        Object[] tables = {pointer(op.tokens()), pointer(op.wte()), wpe, position};
        Object[] out = {pointer(op.out()), rows, pass.length(), op.vocabSize(), c};
        launcher.launch("embedding", "embedding" + type.suffix(), grid, tables, out);
    }

    void embeddingGrad(EmbeddingGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        int v = op.vocabSize();
        int table = Math.multiplyExact(v, c);
        FloatType type = FloatType.of(op.dout());
        CUdeviceptr dout = pointer(op.dout());
        CUdeviceptr dwte = pointer(op.dwte());
        int parts = Math.min(Launcher.MOST_PARTS, Grid.blocks(rows, EMBEDDING_ROWS));
        CUdeviceptr first = parts == 1 ? dwte : launcher.scratch((long) parts * table * Float.BYTES); // (parts, V, C)
        Grid grid = new Grid(Math.multiplyExact(parts, v), Grid.blocks(c, Launcher.WARP), Launcher.WARP, 8);
        Object[] sizes = {rows, v, c, Grid.blocks(rows, parts)};
        String ofTokens = "token_embedding_grad" + type.suffix();
        launcher.launch("embedding", ofTokens, grid, pointer(op.tokens()), dout, first, sizes);
        if (parts > 1) {
            launcher.columnSums(FloatType.F32, first, dwte, parts, table, table);
        }
        if (op.dwpe() != null) {
            Object[] shape = {pass.batch(), pass.length(), c, op.dwpe().shape().dim(0)};
            String ofPositions = "position_embedding_grad" + type.suffix();
            Grid each = Grid.of(op.dwpe().size(), 1);
            launcher.launch("embedding", ofPositions, each, dout, pointer(op.dwpe()), shape);
        }
    }

    void sample(SampleOp op, Pass pass) {
        op.rows(pass);
        int batch = pass.batch();
        int v = op.vocabSize();
        long n = (long) batch * v;
        CUdeviceptr weights = launcher.scratch(2 * n * Double.BYTES); // and the same again for sorting
        Object[] rows = {pointer(op.logits()), weights, weights.withByteOffset(n * Double.BYTES)};
        Sampling sampling = op.sampling();
        Object[] choice = {sampling.temperature(), sampling.topK(), sampling.topP()};
        Object[] draw = {stream(op.stream()), orNull(op.firstSequence()), DeviceStorage.pointer(op.tokens(), batch)};
        Grid grid = new Grid(batch, 1, Launcher.ROW_THREADS, 1);
        launcher.launch("sample", "sample_f32", grid, rows, choice, draw, pass.length(), v);
    }

    void append(AppendOp op, Pass pass) {
        op.rows(pass);
        CUdeviceptr next = DeviceStorage.pointer(op.next(), pass.batch());
        Grid grid = new Grid(pass.batch(), 1, Launcher.ROW_THREADS, 1);
        launcher.launch("append", "append_tokens", grid, pointer(op.tokens()), next, pass.length());
    }
}
