package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.cpu.NativeCall.Kernel;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.ReluGradOp;

/** Linear layers in native code: the bits of {@link JavaLinear}. */
final class NativeLinear extends JavaLinear {
    private final Instructions instructions;

    NativeLinear(Instructions instructions) {
        this.instructions = instructions;
    }

    @Override
    void linear(LinearOp op, Pass pass) {
        int rows = op.rows(pass);
        int in = op.in();
        int out = op.out();
        Scratch.get()
                .call(instructions, Kernel.LINEAR)
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
        Scratch.get()
                .call(instructions, Kernel.LINEAR_GRAD)
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
