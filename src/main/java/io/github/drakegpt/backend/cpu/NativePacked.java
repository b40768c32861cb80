package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.cpu.NativeCall.Kernel;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.tensor.Tensor;
import java.util.Objects;

/** 8-bit rows and packed weights in native code: the bits of {@link JavaPacked}. */
final class NativePacked extends JavaPacked {
    private final Instructions instructions;

    NativePacked(Instructions instructions) {
        this.instructions = instructions;
    }

    @Override
    void quantizeInt8(Tensor x, Int8Rows q, int rows, int c) {
        int stride = q.stride();
        Objects.checkFromIndexSize(0, c, stride);
        Scratch.get()
                .call(instructions, Kernel.QUANTIZE_INT8)
                .read(x, (long) rows * c)
                .write(q.values(), (long) rows * stride)
                .write(q.scales(), rows)
                .write(q.sums(), rows)
                .number(rows)
                .number(c)
                .number(stride)
                .run();
    }

    @Override
    void packedLinear(PackedLinearOp op, int rows, int fromTile, int toTile) {
        Int8Rows x = op.x();
        PackedWeights w = op.w();
        int out = w.out();
        int stride = x.stride();
        Objects.checkFromToIndex(fromTile, toTile, PackedMatrix.tiles(out));
        Scratch.get()
                .call(instructions, Kernel.PACKED_LINEAR)
                .read(x.values(), (long) rows * stride)
                .read(x.scales(), rows)
                .read(x.sums(), rows)
                .read(w.codes(), PackedMatrix.bytes(w.quantization(), out, w.in()))
                .read(w.scales(), out)
                .read(op.bias(), out)
                .write(op.y(), (long) rows * out)
                .number(PackedMatrix.bits(w.quantization()))
                .number(rows)
                .number(stride)
                .number(out)
                .number(op.relu())
                .number(fromTile)
                .number(toTile)
                .run();
    }
}
