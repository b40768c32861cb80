package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.cpu.NativeCall.Kernel;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.QuantizeRowsOp;
import io.github.drakegpt.ops.QuantizeWeightsOp;
import io.github.drakegpt.quant.Quantization;

/** Rounding in native code: the bits of {@link JavaQuantization}. */
final class NativeQuantization extends JavaQuantization {
    private final Instructions instructions;

    NativeQuantization(Instructions instructions) {
        this.instructions = instructions;
    }

    @Override
    void quantizeWeights(QuantizeWeightsOp op) {
        int n = op.each();
        long total = (long) op.matrices() * n;
        Scratch scratch = Scratch.get();
        scratch.call(instructions, Kernel.QUANTIZE_WEIGHTS)
                .read(op.w(), total)
                .write(op.q(), total)
                .write(scratch.floats(0, n), n)
                .number(op.matrices())
                .number(n)
                .number(op.quantization() == Quantization.BITNET)
                .number(SMALLEST_SCALE)
                .number(strength(op.strength()))
                .run();
    }

    @Override
    void quantizeRows(QuantizeRowsOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        Scratch.get()
                .call(instructions, Kernel.QUANTIZE_ROWS)
                .read(op.x(), (long) rows * c)
                .write(op.q(), (long) rows * c)
                .number(rows)
                .number(c)
                .number(SMALLEST_SCALE)
                .number(strength(op.strength()))
                .run();
    }
}
