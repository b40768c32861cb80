package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.MatmulCandidate;
import io.github.drakegpt.backend.Measuring.Bound;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** Products of unpacked weights in the backend's precision, each thread with its share of the weight's rows. */
record CpuCandidate(CpuBackend backend) implements MatmulCandidate {
    @Override
    public String name() {
        return backend.precision().label();
    }

    @Override
    public Bound bound() {
        return Bound.of(backend.precision());
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
        int parts = backend.workers();
        Pass pass = Pass.evaluation(1, rows);
        List<Runnable> products = new ArrayList<>();
        for (Tensor w : weights) {
            List<LinearOp> shares = new ArrayList<>();
            for (int part = 0; part < parts; part++) {
                int from = part * out / parts;
                int count = (part + 1) * out / parts - from;
                Tensor share = w.slice((long) from * in, Shape.of(count, in));
                Tensor y = arena.allocate(DType.F32, Shape.of(rows, count));
                shares.add(new LinearOp(x, share, null, false, y));
            }
            products.add(() -> backend.parallel(parts, part -> backend.linear(shares.get(part), pass)));
        }
        return products;
    }
}
