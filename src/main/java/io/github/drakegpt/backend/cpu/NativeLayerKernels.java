package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Tensor;
import java.util.Objects;

/** The kernels of {@code native/cpu}, which work on the Java arrays themselves. */
final class NativeLayerKernels implements LayerKernels {
    /** Maximum heads that are computed in parallel: the floats of a vector. */
    private static final int MOST_LANES = 16;

    private final Instructions instructions;

    NativeLayerKernels(Instructions instructions) {
        this.instructions = instructions;
    }

    @Override
    public void layerNorm(LayerNormOp op, int rows) {
        int c = op.columns();
        long n = (long) rows * c;
        layerNorm(
                instructions.ordinal(),
                floats(op.x()),
                start(op.x(), n),
                floats(op.weight()),
                start(op.weight(), c),
                floats(op.bias()),
                start(op.bias(), c),
                floats(op.out()),
                start(op.out(), n),
                floats(op.stats()),
                start(op.stats(), 2L * rows),
                rows,
                c,
                NORM_EPS);
    }

    @Override
    public void layerNormGrad(LayerNormGradOp op, float[] products, int rows) {
        LayerNormOp norm = op.norm();
        int c = op.columns();
        long n = (long) rows * c;
        Objects.checkFromIndexSize(0, n, (long) products.length);
        layerNormGrad(
                instructions.ordinal(),
                floats(norm.x()),
                start(norm.x(), n),
                floats(norm.weight()),
                start(norm.weight(), c),
                floats(norm.stats()),
                start(norm.stats(), 2L * rows),
                floats(op.dout()),
                start(op.dout(), n),
                floats(op.dx()),
                start(op.dx(), n),
                products,
                rows,
                c);
    }

    @Override
    public void attention(AttentionOp op, Pass pass) {
        run(op, pass, null, null);
    }

    @Override
    public void attentionGrad(AttentionGradOp op, Pass pass) {
        run(op.forward(), pass, op.dout(), op.dqkv());
    }

    /** Computes the gradient if dout and dqkv are not null. */
    private void run(AttentionOp op, Pass pass, Tensor dout, Tensor dqkv) {
        int t = pass.length();
        int heads = op.heads();
        int headSize = op.headSize();
        long rows = (long) pass.rows() * heads;
        long n = rows * headSize;
        Scratch scratch = Scratch.get();
        // q, k, v, out and their gradients; the weights of a row; stats; the mask; padding to the start of a vector
        int vectors = 8 * t * headSize + t + 2 * t + t * t + 1;
        float[] memory = scratch.floats(0, Math.multiplyExact(vectors, MOST_LANES));
        long firstWeight = pass.firstSequence() * heads * t * t;
        attention(
                instructions.ordinal(),
                floats(op.qkv()),
                start(op.qkv(), 3 * n),
                floats(op.out()),
                start(op.out(), n),
                floats(op.stats()),
                start(op.stats(), 2 * rows),
                dout == null ? null : floats(dout),
                dout == null ? 0 : start(dout, n),
                dqkv == null ? null : floats(dqkv),
                dqkv == null ? 0 : start(dqkv, 3 * n),
                scratch.masks().get(op.dropout(), pass, firstWeight, Math.toIntExact(rows * t)),
                memory,
                (float) (1 / Math.sqrt(headSize)),
                pass.batch(),
                t,
                heads,
                headSize);
    }

    private static native void layerNorm(
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

    private static native void layerNormGrad(
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
