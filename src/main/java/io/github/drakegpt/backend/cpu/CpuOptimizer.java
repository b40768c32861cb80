package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.ints;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.CopyOp;
import io.github.drakegpt.ops.GradNormOp;
import io.github.drakegpt.ops.SumOp;

/** Operations over flat buffers of all parameters, split over the threads. */
final class CpuOptimizer {
    /** Elements of a flat buffer in one task: enough to outweigh the cost of starting it. */
    private static final int CHUNK = 1 << 17;

    /**
     * Added and subtracted again, it rounds much smaller values to multiples of 1e-31 and leaves others unchanged.
     * Otherwise the moments of a parameter whose gradient is zero would shrink until they, or their products, become
     * subnormal numbers, which are a hundred times slower.
     */
    private static final float TINY = 1e-24f;

    private final Workers workers;

    CpuOptimizer(Workers workers) {
        this.workers = workers;
    }

    private static int chunks(int n) {
        return (n + CHUNK - 1) / CHUNK;
    }

    void sum(SumOp op) {
        int n = (int) op.sum().size();
        workers.run(chunks(n), chunk -> {
            int from = chunk * CHUNK;
            int length = Math.min(CHUNK, n - from);
            float[] sums = floats(op.sum());
            int so = start(op.sum()) + from;
            for (int i = 0; i < op.parts().size(); i++) {
                float[] part = floats(op.parts().get(i));
                int o = start(op.parts().get(i)) + from;
                if (i == 0 && !op.add()) {
                    System.arraycopy(part, o, sums, so, length);
                } else {
                    VectorMath.add(sums, so, part, o, length);
                }
            }
        });
    }

    void gradNorm(GradNormOp op) {
        int n = (int) op.x().size();
        float[] x = floats(op.x());
        float[] partial = Scratch.get().floats(0, chunks(n));
        workers.run(chunks(n), chunk -> {
            int from = chunk * CHUNK;
            int o = start(op.x()) + from;
            partial[chunk] = VectorMath.dot(x, o, x, o, Math.min(CHUNK, n - from));
        });
        double total = 0;
        for (int chunk = 0; chunk < chunks(n); chunk++) {
            total += partial[chunk];
        }
        floats(op.norm())[start(op.norm())] = (float) Math.sqrt(total);
    }

    void adamW(AdamWOp op) {
        int n = op.size();
        AdamWOp.State state = op.state();
        AdamWSettings settings = op.settings();
        Scratch scratch = Scratch.get();
        float[] p = Flat.in(state.params(), n, scratch, 0);
        float[] g = Flat.in(state.grads(), n, scratch, 1);
        float[] m = Flat.in(state.firstMoments(), n, scratch, 2);
        float[] v = Flat.in(state.secondMoments(), n, scratch, 3);
        float learningRate = floats(op.learningRate())[start(op.learningRate())];
        float gradNorm = floats(op.gradNorm())[start(op.gradNorm())];
        int step = ints(op.step())[start(op.step())];
        float beta1 = settings.beta1();
        float beta2 = settings.beta2();
        // 1e-6 as in PyTorch's clip_grad_norm_
        float gradScale = settings.clip() > 0 ? Math.min(1f, settings.clip() / (gradNorm + 1e-6f)) : 1f;
        float stepSize = (float) (learningRate / (1 - Math.pow(beta1, step)));
        float rootScale = (float) (1 / Math.sqrt(1 - Math.pow(beta2, step)));
        float decay = 1 - learningRate * settings.weightDecay();
        workers.run(chunks(n), chunk -> {
            int from = chunk * CHUNK;
            int to = Math.min(from + CHUNK, n);
            // three short loops, since the compiler does not vectorize a long one
            for (int i = from; i < to; i++) {
                m[i] = beta1 * m[i] + (1 - beta1) * gradScale * g[i] + TINY - TINY;
            }
            for (int i = from; i < to; i++) {
                float gradient = g[i] * gradScale;
                v[i] = beta2 * v[i] + (1 - beta2) * gradient * gradient + TINY - TINY;
            }
            for (int i = from; i < to; i++) {
                p[i] = p[i] * decay - stepSize * m[i] / ((float) Math.sqrt(v[i]) * rootScale + settings.eps());
            }
        });
        Flat.store(p, state.params(), n);
        Flat.store(m, state.firstMoments(), n);
        Flat.store(v, state.secondMoments(), n);
    }

    static void copy(CopyOp op) {
        int n = Math.toIntExact(op.source().size());
        Object source = HeapStorage.array(op.source());
        System.arraycopy(source, start(op.source()), HeapStorage.array(op.target()), start(op.target()), n);
    }
}
