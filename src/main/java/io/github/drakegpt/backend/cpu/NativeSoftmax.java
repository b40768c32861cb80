package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.cpu.NativeCall.Kernel;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.SoftmaxGradOp;
import io.github.drakegpt.ops.SoftmaxOp;

/** The softmax in native code: the bits of {@link JavaSoftmax}. */
final class NativeSoftmax extends JavaSoftmax {
    private final Instructions instructions;

    NativeSoftmax(Instructions instructions) {
        this.instructions = instructions;
    }

    @Override
    void softmax(SoftmaxOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        Scratch.get()
                .call(instructions, Kernel.SOFTMAX)
                .read(op.x(), (long) rows * c)
                .write(op.y(), (long) rows * c)
                .number(rows)
                .number(c)
                .number(op.causal())
                .run();
    }

    @Override
    void softmaxGrad(SoftmaxGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        Scratch.get()
                .call(instructions, Kernel.SOFTMAX_GRAD)
                .read(op.y(), (long) rows * c)
                .read(op.dy(), (long) rows * c)
                .write(op.dx(), (long) rows * c)
                .number(rows)
                .number(c)
                .number(op.causal())
                .run();
    }

    @Override
    void crossEntropy(CrossEntropyOp op, float[] stats, int rows) {
        int v = op.vocabSize();
        Scratch scratch = Scratch.get();
        scratch.call(instructions, Kernel.CROSS_ENTROPY)
                .read(op.logits(), (long) rows * v)
                .write(stats, 2L * rows)
                .write(op.dlogits(), (long) rows * v)
                .write(scratch.floats(2, v), v)
                .number(rows)
                .number(v)
                .number(op.gradScale())
                .run();
    }
}
