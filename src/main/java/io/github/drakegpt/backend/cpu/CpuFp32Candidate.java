package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.MatmulCandidate;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** OpenBLAS in fp32, each thread with its share of the weight's rows. */
record CpuFp32Candidate(CpuBackend backend, Blas blas) implements MatmulCandidate {
    @Override
    public String name() {
        return "fp32";
    }

    @Override
    public long weightBytes(int out, int in) {
        return (long) Float.BYTES * out * in;
    }

    @Override
    public Prepared prepare(Arena arena, int out, int in, int weights) {
        float[] random = MatmulCandidate.random(out * in);
        List<Tensor> prepared = new ArrayList<>();
        for (int i = 0; i < weights; i++) {
            Tensor w = arena.allocate(DType.F32, Shape.of(out, in));
            w.write(random);
            prepared.add(w);
        }
        return (ofRows, rows) -> products(ofRows, prepared, rows);
    }

    private List<Runnable> products(Arena arena, List<Tensor> weights, int rows) {
        int out = weights.get(0).shape().dim(0);
        int in = weights.get(0).shape().dim(1);
        Tensor x = arena.allocate(DType.F32, Shape.of(rows, in));
        x.write(MatmulCandidate.random(rows * in));
        Tensor y = arena.allocate(DType.F32, Shape.of(rows, out));
        int parts = backend.workers();
        List<Runnable> products = new ArrayList<>();
        for (Tensor w : weights) {
            products.add(() -> backend.parallel(parts, part -> {
                int from = part * out / parts;
                multiply(x, w, y, from, (part + 1) * out / parts - from);
            }));
        }
        return products;
    }

    /** y[:, from ..] = x w[from ..]^T for some rows of w. */
    private void multiply(Tensor x, Tensor w, Tensor y, int from, int count) {
        int rows = x.shape().dim(0);
        int in = x.shape().dim(1);
        Scratch scratch = Scratch.get();
        Matrix some = scratch.matrix(1, HeapStorage.floats(w), from * in, count, in, in);
        float[] ys = HeapStorage.floats(y);
        if (rows == 1) {
            blas.gemv(some, HeapStorage.floats(x), 0, 0, ys, from);
        } else {
            Matrix columns = scratch.matrix(2, ys, from, rows, count, y.shape().dim(1));
            blas.gemm(1, scratch.matrix(0, x, rows, in), some.transposed(), 0, columns);
        }
    }
}
