package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.MatrixProduct;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** OpenBLAS in fp32, each thread with its share of the weight's rows, as a product to compare. */
record CpuFp32Product(CpuBackend backend, Blas blas) implements MatrixProduct {
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
        float[] random = MatrixProduct.random(out * in);
        List<Tensor> prepared = new ArrayList<>();
        for (int i = 0; i < weights; i++) {
            Tensor w = arena.allocate(DType.F32, Shape.of(out, in));
            w.write(random);
            prepared.add(w);
        }
        return (ofRows, rows) -> products(ofRows, prepared, rows, out, in);
    }

    private List<Runnable> products(Arena arena, List<Tensor> weights, int rows, int out, int in) {
        Tensor x = arena.allocate(DType.F32, Shape.of(rows, in));
        x.write(MatrixProduct.random(rows * in));
        Tensor y = arena.allocate(DType.F32, Shape.of(rows, out));
        int parts = backend.workers();
        List<Runnable> products = new ArrayList<>();
        for (Tensor w : weights) {
            products.add(() -> backend.parallel(parts, part -> {
                int from = part * out / parts;
                multiply(x, w, y, rows, in, out, from, (part + 1) * out / parts - from);
            }));
        }
        return products;
    }

    /** y[:, from ..] = x w[from ..]^T for some rows of w. */
    private void multiply(Tensor x, Tensor w, Tensor y, int rows, int in, int out, int from, int count) {
        float[] xs = HeapStorage.floats(x);
        float[] ws = HeapStorage.floats(w);
        float[] ys = HeapStorage.floats(y);
        if (rows == 1) {
            blas.gemv(false, count, in, ws, from * in, in, xs, 0, 0, ys, from);
        } else {
            blas.gemm(false, true, rows, count, in, 1, xs, 0, in, ws, from * in, in, 0, ys, from, out);
        }
    }
}
