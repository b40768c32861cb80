package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.bytes;
import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.ints;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.tensor.Tensor;
import java.util.Objects;

/** The kernels of {@code native/cpu}, which work on the Java arrays themselves. */
final class NativePackedKernels implements PackedKernels {
    private final Instructions instructions;

    NativePackedKernels(Instructions instructions) {
        this.instructions = instructions;
    }

    @Override
    public void quantizeInt8(Tensor x, Int8Rows q, int rows, int c) {
        int stride = q.stride();
        Objects.checkFromIndexSize(0, c, stride);
        round(
                instructions.ordinal(),
                floats(x),
                start(x, (long) rows * c),
                bytes(q.values()),
                start(q.values(), (long) rows * stride),
                floats(q.scales()),
                start(q.scales(), rows),
                ints(q.sums()),
                start(q.sums(), rows),
                rows,
                c,
                stride);
    }

    @Override
    public void packedLinear(PackedLinearOp op, int rows, int fromTile, int toTile) {
        Int8Rows x = op.x();
        PackedWeights w = op.w();
        Tensor bias = op.bias();
        int out = w.out();
        int stride = x.stride();
        Objects.checkFromToIndex(fromTile, toTile, PackedMatrix.tiles(out));
        multiply(
                instructions.ordinal(),
                bytes(x.values()),
                start(x.values(), (long) rows * stride),
                floats(x.scales()),
                start(x.scales(), rows),
                ints(x.sums()),
                start(x.sums(), rows),
                bytes(w.codes()),
                start(w.codes(), PackedMatrix.bytes(w.quantization(), out, w.in())),
                floats(w.scales()),
                start(w.scales(), out),
                bias == null ? null : floats(bias),
                bias == null ? 0 : start(bias, out),
                floats(op.y()),
                start(op.y(), (long) rows * out),
                PackedMatrix.bits(w.quantization()),
                rows,
                stride,
                out,
                op.relu(),
                fromTile,
                toTile);
    }

    /**
     * Rounds x (rows, columns) to values (rows, stride), laid out as {@link Int8Rows}; each array from its offset on.
     */
    private static native void round(
            int instructions,
            float[] x,
            int xStart,
            byte[] values,
            int valuesStart,
            float[] scales,
            int scalesStart,
            int[] sums,
            int sumsStart,
            int rows,
            int columns,
            int stride);

    /** The same for x (rows, stride), weights (out, stride), bias (out) or null, y (rows, out). */
    private static native void multiply(
            int instructions,
            byte[] x,
            int xStart,
            float[] xScales,
            int xScalesStart,
            int[] xSums,
            int xSumsStart,
            byte[] codes,
            int codesStart,
            float[] wScales,
            int wScalesStart,
            float[] bias,
            int biasStart,
            float[] y,
            int yStart,
            int bits,
            int rows,
            int stride,
            int out,
            boolean relu,
            int fromTile,
            int toTile);
}
