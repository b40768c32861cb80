package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.ReluGradOp;
import io.github.drakegpt.quant.PackedMatrix;

/** Linear layers. */
final class CpuLinear {
    /**
     * Minimum multiplications of a product with packed weights that is split over the threads: 30 microseconds of one
     * thread.
     */
    private static final int LARGE_PRODUCT = 1 << 22;

    private final Blas blas;
    private final PackedKernels packed;
    private final Workers workers;

    CpuLinear(Blas blas, PackedKernels packed, Workers workers) {
        this.blas = blas;
        this.packed = packed;
        this.workers = workers;
    }

    void linear(LinearOp op, Pass pass) {
        int rows = op.rows(pass);
        int in = op.in();
        int out = op.out();
        float[] ys = floats(op.y());
        int yo = start(op.y());
        float beta = 0;
        if (op.bias() != null) {
            Flat.fillRows(floats(op.bias()), start(op.bias()), ys, yo, rows, out);
            beta = 1;
        }
        Scratch scratch = Scratch.get();
        Matrix w = scratch.matrix(1, op.w(), out, in);
        if (rows == 1) {
            blas.gemv(w, floats(op.x()), start(op.x()), beta, ys, yo);
        } else {
            Matrix x = scratch.matrix(0, op.x(), rows, in);
            blas.gemm(1, x, w.transposed(), beta, scratch.matrix(2, op.y(), rows, out));
        }
        if (op.relu()) {
            int n = rows * out;
            for (int i = 0; i < n; i++) {
                ys[yo + i] = Math.max(ys[yo + i], 0f);
            }
        }
    }

    void linearGrad(LinearGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int in = op.in();
        int out = op.out();
        Scratch scratch = Scratch.get();
        Matrix dyTransposed = scratch.matrix(0, op.dy(), rows, out).transposed();
        blas.gemm(1, dyTransposed, scratch.matrix(1, op.x(), rows, in), 0, scratch.matrix(2, op.dw(), out, in));
        if (op.dbias() != null) {
            blas.columnSums(scratch.matrix(0, op.dy(), rows, out), op.dbias());
        }
        if (op.dx() != null) {
            Matrix dy = scratch.matrix(0, op.dy(), rows, out);
            blas.gemm(1, dy, scratch.matrix(1, op.w(), out, in), 0, scratch.matrix(2, op.dx(), rows, in));
        }
    }

    void reluGrad(ReluGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        int n = rows * c;
        Scratch scratch = Scratch.get();
        float[] ys = Flat.in(op.y(), n, scratch, 0);
        float[] dys = Flat.in(op.dy(), n, scratch, 1);
        for (int i = 0; i < n; i++) {
            // times 1 where y > 0, else 0: vectorized, unlike a comparison. Adding 0 turns -0 into 0.
            dys[i] = dys[i] * Math.min(ys[i] * VectorMath.HUGE * VectorMath.HUGE, 1f) + 0f;
        }
        Flat.store(dys, op.dy(), n);
        if (op.dbias() != null) {
            blas.columnSums(scratch.matrix(0, op.dy(), rows, c), op.dbias());
        }
    }

    void packedLinear(PackedLinearOp op, Pass pass) {
        int rows = op.rows(pass);
        int out = op.w().out();
        int tiles = PackedMatrix.tiles(out);
        boolean large = (long) rows * out * op.w().in() >= LARGE_PRODUCT;
        int parts = large ? Math.min(workers.count(), tiles) : 1;
        workers.run(parts, part -> packed.packedLinear(op, rows, tiles * part / parts, tiles * (part + 1) / parts));
    }
}
