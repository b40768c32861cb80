package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.cpu.NativeCall.Kernel;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.ops.SumOp;
import io.github.drakegpt.tensor.Tensor;

/** Operations over flat buffers in native code: the bits of {@link JavaOptimizer}. */
final class NativeOptimizer extends JavaOptimizer {
    private static final int MOST_PARTS = 7; // as in native/cpu/optimizer.h

    private final Instructions instructions;

    NativeOptimizer(Workers workers, Instructions instructions) {
        super(workers);
        this.instructions = instructions;
    }

    @Override
    void sum(SumOp op, int from, int n) {
        int parts = op.parts().size();
        for (int first = 0; first < parts; first += MOST_PARTS) {
            int count = Math.min(MOST_PARTS, parts - first);
            NativeCall call = Scratch.get().call(instructions, Kernel.SUM).write(op.sum(), from, n);
            for (int p = 0; p < MOST_PARTS; p++) {
                call.read(p < count ? op.parts().get(first + p) : null, from, n);
            }
            call.number(n).number(count).number(op.add() || first > 0).run();
        }
    }

    @Override
    void squares(Tensor x, int from, int n, float[] sums, int first) {
        Scratch.get()
                .call(instructions, Kernel.SQUARES)
                .read(x, from, n)
                .write(sums, first, (n + BLOCK - 1) / BLOCK)
                .number(n)
                .number(BLOCK)
                .run();
    }

    @Override
    void adamW(AdamWOp.State state, Step step, int from, int n) {
        Scratch.get()
                .call(instructions, Kernel.ADAMW)
                .write(state.params(), from, n)
                .read(state.grads(), from, n)
                .write(state.firstMoments(), from, n)
                .write(state.secondMoments(), from, n)
                .number(n)
                .number(step.gradScale())
                .number(step.beta1())
                .number(step.beta2())
                .number(step.stepSize())
                .number(step.rootScale())
                .number(step.eps())
                .number(step.decay())
                .number(TINY)
                .run();
    }
}
