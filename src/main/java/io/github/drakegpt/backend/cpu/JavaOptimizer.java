package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.ints;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.CopyOp;
import io.github.drakegpt.ops.GradNormOp;
import io.github.drakegpt.ops.SumOp;
import io.github.drakegpt.tensor.Tensor;

/**
 * Operations over flat buffers of all parameters, split over the threads: the definition of their bits, and what
 * machines without native code compute.
 */
class JavaOptimizer {
    /** Elements of a flat buffer in one task: enough to outweigh the cost of starting it. */
    private static final int CHUNK = 1 << 14;

    /** Elements whose squares are added up in float32; a divisor of CHUNK. */
    static final int BLOCK = 1 << 12;

    /**
     * Added and subtracted again, it rounds much smaller values to multiples of 1e-31 and leaves others unchanged.
     * Otherwise the moments of a parameter whose gradient is zero would shrink until they, or their products, become
     * subnormal numbers, which are a hundred times slower.
     */
    static final float TINY = 1e-24f;

    private final Workers workers;

    JavaOptimizer(Workers workers) {
        this.workers = workers;
    }

    private interface Chunk {
        /** Elements from a place on. */
        void run(int from, int length);
    }

    private void forChunks(int n, Chunk chunk) {
        workers.run((n + CHUNK - 1) / CHUNK, i -> chunk.run(i * CHUNK, Math.min(CHUNK, n - i * CHUNK)));
    }

    final void sum(SumOp op) {
        forChunks((int) op.sum().size(), (from, n) -> sum(op, from, n));
    }

    final void gradNorm(GradNormOp op) {
        int n = (int) op.x().size();
        int blocks = (n + BLOCK - 1) / BLOCK;
        float[] squares = Scratch.get().floats(0, blocks);
        forChunks(n, (from, length) -> squares(op.x(), from, length, squares, from / BLOCK));
        double total = 0;
        for (int i = 0; i < blocks; i++) {
            total += squares[i];
        }
        floats(op.norm())[start(op.norm())] = (float) Math.sqrt(total);
    }

    /** What a step of AdamW multiplies by. */
    record Step(float gradScale, float beta1, float beta2, float stepSize, float rootScale, float eps, float decay) {}

    final void adamW(AdamWOp op) {
        AdamWSettings settings = op.settings();
        float learningRate = floats(op.learningRate())[start(op.learningRate())];
        float gradNorm = floats(op.gradNorm())[start(op.gradNorm())];
        int step = ints(op.step())[start(op.step())];
        // 1e-6 as in PyTorch's clip_grad_norm_
        float gradScale = settings.clip() > 0 ? Math.min(1f, settings.clip() / (gradNorm + 1e-6f)) : 1f;
        // StrictMath: the same on every machine
        float stepSize = (float) (learningRate / (1 - StrictMath.pow(settings.beta1(), step)));
        float rootScale = (float) (1 / Math.sqrt(1 - StrictMath.pow(settings.beta2(), step)));
        float decay = 1 - learningRate * settings.weightDecay();
        Step factors =
                new Step(gradScale, settings.beta1(), settings.beta2(), stepSize, rootScale, settings.eps(), decay);
        forChunks(op.size(), (from, n) -> adamW(op.state(), factors, from, n));
    }

    // ---------------------------------------------------------------- some elements, in native code as well

    void sum(SumOp op, int from, int n) {
        float[] sums = floats(op.sum());
        int so = start(op.sum()) + from;
        for (int p = 0; p < op.parts().size(); p++) {
            float[] part = floats(op.parts().get(p));
            int o = start(op.parts().get(p)) + from;
            if (p == 0 && !op.add()) {
                System.arraycopy(part, o, sums, so, n);
            } else {
                VectorMath.add(sums, so, part, o, n);
            }
        }
    }

    /** The sum of the squares of each block, from one of the sums on. */
    void squares(Tensor x, int from, int n, float[] sums, int first) {
        for (int i = 0; i < n; i += BLOCK) {
            int o = start(x) + from + i;
            sums[first + i / BLOCK] = VectorMath.dot(floats(x), o, floats(x), o, Math.min(BLOCK, n - i));
        }
    }

    void adamW(AdamWOp.State state, Step step, int from, int n) {
        float[] p = floats(state.params());
        float[] g = floats(state.grads());
        float[] m = floats(state.firstMoments());
        float[] v = floats(state.secondMoments());
        int po = start(state.params()) + from;
        int go = start(state.grads()) + from;
        int mo = start(state.firstMoments()) + from;
        int vo = start(state.secondMoments()) + from;
        for (int i = 0; i < n; i++) {
            float gradient = g[go + i] * step.gradScale;
            float first = Math.fma(step.beta1, m[mo + i], (1 - step.beta1) * gradient) + TINY - TINY;
            float second = Math.fma(step.beta2, v[vo + i], (1 - step.beta2) * gradient * gradient) + TINY - TINY;
            float change = step.stepSize * first / Math.fma((float) Math.sqrt(second), step.rootScale, step.eps);
            p[po + i] = Math.fma(p[po + i], step.decay, -change);
            m[mo + i] = first;
            v[vo + i] = second;
        }
    }

    static void copy(CopyOp op) {
        int n = Math.toIntExact(op.source().size());
        Object source = HeapStorage.array(op.source());
        System.arraycopy(source, start(op.source()), HeapStorage.array(op.target()), start(op.target()), n);
    }
}
