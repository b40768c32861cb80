package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.cpu.NativeCall.Kernel;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.ReluGradOp;
import io.github.drakegpt.tensor.Precision;

/** Linear layers in native code: the bits of {@link JavaLinear}. */
final class NativeLinear extends JavaLinear {
    private static final int SCRATCH = 1 << 16; // as in native/cpu/matmul_bf16.h

    private final Instructions instructions;
    private final boolean bf16;

    /** @param precision of the factors: FP32 or BF16 */
    NativeLinear(Instructions instructions, Precision precision) {
        super(precision);
        this.instructions = instructions;
        this.bf16 = precision == Precision.BF16;
    }

    /** Begins a call of a product in the precision. */
    private NativeCall call(Kernel fp32, Kernel ofBf16) {
        Scratch scratch = Scratch.get();
        return bf16
                ? scratch.call(instructions, ofBf16).write(scratch.floats(0, SCRATCH), SCRATCH)
                : scratch.call(instructions, fp32);
    }

    @Override
    void linear(LinearOp op, Pass pass) {
        int rows = op.rows(pass);
        int in = op.in();
        int out = op.out();
        call(Kernel.LINEAR, Kernel.LINEAR_BF16)
                .read(op.x(), (long) rows * in)
                .read(op.w(), (long) out * in)
                .read(op.bias(), out)
                .write(op.y(), (long) rows * out)
                .number(rows)
                .number(in)
                .number(out)
                .number(op.relu())
                .run();
    }

    @Override
    void linearGrad(LinearGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int in = op.in();
        int out = op.out();
        call(Kernel.LINEAR_GRAD, Kernel.LINEAR_GRAD_BF16)
                .read(op.x(), (long) rows * in)
                .read(op.w(), (long) out * in)
                .read(op.dy(), (long) rows * out)
                .write(op.dw(), (long) out * in)
                .write(op.dbias(), out)
                .write(op.dx(), (long) rows * in)
                .number(rows)
                .number(in)
                .number(out)
                .run();
    }

    @Override
    void reluGrad(ReluGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        Scratch.get()
                .call(instructions, Kernel.RELU_GRAD)
                .read(op.y(), (long) rows * c)
                .write(op.dy(), (long) rows * c)
                .write(op.dbias(), c)
                .number(rows)
                .number(c)
                .run();
    }
}
