package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.tensor.Tensor;
import java.util.Objects;

/** The kernels of {@code native/cpu}, which work on the Java arrays themselves. */
final class NativeLayerKernels implements LayerKernels {
    /** The most heads that are worked on side by side: the floats of a vector. */
    private static final int MOST_LANES = 16;

    private final Instructions instructions;

    NativeLayerKernels(Instructions instructions) {
        this.instructions = instructions;
    }

    @Override
    public void norm(Tensor x, Tensor weight, Tensor bias, Tensor out, Tensor stats, int rows, int c, float eps) {
        long n = (long) rows * c;
        norm(
                instructions.ordinal(),
                floats(x),
                start(x, n),
                floats(weight),
                start(weight, c),
                floats(bias),
                start(bias, c),
                floats(out),
                start(out, n),
                floats(stats),
                start(stats, 2L * rows),
                rows,
                c,
                eps);
    }

    @Override
    public void normGrad(
            Tensor x, Tensor weight, Tensor stats, Tensor dout, Tensor dx, float[] products, int rows, int c) {
        long n = (long) rows * c;
        Objects.checkFromIndexSize(0, n, (long) products.length);
        normGrad(
                instructions.ordinal(),
                floats(x),
                start(x, n),
                floats(weight),
                start(weight, c),
                floats(stats),
                start(stats, 2L * rows),
                floats(dout),
                start(dout, n),
                floats(dx),
                start(dx, n),
                products,
                rows,
                c);
    }

    @Override
    public void attention(
            float[] qkv,
            int qo,
            float[] out,
            int oo,
            float[] stats,
            int so,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize) {
        run(qkv, qo, out, oo, stats, so, null, 0, null, 0, dropout, firstSequence, batch, t, heads, headSize);
    }

    @Override
    public void attentionGrad(
            float[] qkv,
            int qo,
            float[] out,
            int oo,
            float[] stats,
            int so,
            float[] dout,
            int go,
            float[] dqkv,
            int dqo,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize) {
        long n = (long) batch * t * heads * headSize;
        Objects.checkFromIndexSize(go, n, (long) dout.length);
        Objects.checkFromIndexSize(dqo, 3 * n, (long) dqkv.length);
        run(qkv, qo, out, oo, stats, so, dout, go, dqkv, dqo, dropout, firstSequence, batch, t, heads, headSize);
    }

    /** The gradient if dout and dqkv are not null. */
    private void run(
            float[] qkv,
            int qo,
            float[] out,
            int oo,
            float[] stats,
            int so,
            float[] dout,
            int go,
            float[] dqkv,
            int dqo,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize) {
        long rows = (long) batch * t * heads;
        Objects.checkFromIndexSize(qo, 3 * rows * headSize, (long) qkv.length);
        Objects.checkFromIndexSize(oo, rows * headSize, (long) out.length);
        Objects.checkFromIndexSize(so, 2 * rows, (long) stats.length);
        Scratch scratch = Scratch.get();
        // q, k, v, out and the gradients of all four; the weights of a row; stats; the mask; up to a vector's beginning
        int vectors = 8 * t * headSize + t + 2 * t + t * t + 1;
        float[] memory = scratch.floats(0, Math.multiplyExact(vectors, MOST_LANES));
        float[] mask = dropout == null
                ? null
                : scratch.masks().get(dropout, firstSequence * heads * t * t, Math.toIntExact(rows * t));
        float scale = (float) (1 / Math.sqrt(headSize));
        attention(
                instructions.ordinal(),
                qkv,
                qo,
                out,
                oo,
                stats,
                so,
                dout,
                go,
                dqkv,
                dqo,
                mask,
                memory,
                scale,
                batch,
                t,
                heads,
                headSize);
    }

    private static native void norm(
            int instructions,
            float[] x,
            int xStart,
            float[] weight,
            int weightStart,
            float[] bias,
            int biasStart,
            float[] out,
            int outStart,
            float[] stats,
            int statsStart,
            int rows,
            int c,
            float eps);

    private static native void normGrad(
            int instructions,
            float[] x,
            int xStart,
            float[] weight,
            int weightStart,
            float[] stats,
            int statsStart,
            float[] dout,
            int doutStart,
            float[] dx,
            int dxStart,
            float[] products,
            int rows,
            int c);

    private static native void attention(
            int instructions,
            float[] qkv,
            int qkvStart,
            float[] out,
            int outStart,
            float[] stats,
            int statsStart,
            float[] dout,
            int doutStart,
            float[] dqkv,
            int dqkvStart,
            float[] mask,
            float[] scratch,
            float scale,
            int batch,
            int t,
            int heads,
            int headSize);
}
