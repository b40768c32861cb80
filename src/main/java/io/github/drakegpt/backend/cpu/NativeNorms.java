package io.github.drakegpt.backend.cpu;

import io.github.drakegpt.backend.cpu.NativeCall.Kernel;
import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.ResidualGradOp;
import io.github.drakegpt.ops.ResidualOp;
import io.github.drakegpt.ops.RmsNormGradOp;
import io.github.drakegpt.ops.RmsNormOp;

/** Norms and residual sums in native code: the bits of {@link JavaNorms}. */
final class NativeNorms extends JavaNorms {
    private final Instructions instructions;

    NativeNorms(JavaPacked packed, JavaDropout dropout, Instructions instructions) {
        super(packed, dropout);
        this.instructions = instructions;
    }

    @Override
    void layerNorm(LayerNormOp op, int rows) {
        int c = op.columns();
        long n = (long) rows * c;
        call(Kernel.LAYER_NORM)
                .read(op.x(), n)
                .read(op.weight(), c)
                .read(op.bias(), c)
                .write(op.out(), n)
                .write(op.stats(), 2L * rows)
                .number(rows)
                .number(c)
                .number(EPS)
                .run();
    }

    @Override
    void layerNormGrad(LayerNormGradOp op, int rows) {
        int c = op.columns();
        long n = (long) rows * c;
        call(Kernel.LAYER_NORM_GRAD)
                .read(op.norm().x(), n)
                .read(op.norm().weight(), c)
                .read(op.norm().stats(), 2L * rows)
                .read(op.dout(), n)
                .write(op.dx(), n)
                .write(op.dweight(), c)
                .write(op.dbias(), c)
                .number(rows)
                .number(c)
                .run();
    }

    @Override
    void rmsNorm(RmsNormOp op, int rows) {
        int c = op.columns();
        long n = (long) rows * c;
        call(Kernel.RMS_NORM)
                .read(op.x(), n)
                .read(op.weight(), c)
                .write(op.out(), n)
                .write(op.stats(), rows)
                .number(rows)
                .number(c)
                .number(EPS)
                .run();
    }

    @Override
    void rmsNormGrad(RmsNormGradOp op, int rows) {
        int c = op.columns();
        long n = (long) rows * c;
        call(Kernel.RMS_NORM_GRAD)
                .read(op.x(), n)
                .read(op.weight(), c)
                .read(op.stats(), rows)
                .read(op.dout(), n)
                .write(op.dx(), n)
                .write(op.dweight(), c)
                .number(rows)
                .number(c)
                .run();
    }

    @Override
    void residual(ResidualOp op, float[] mask, int rows) {
        int c = op.columns();
        long n = (long) rows * c;
        call(Kernel.RESIDUAL)
                .read(op.x(), n)
                .read(op.branch(), n)
                .read(op.bias(), c)
                .read(mask, n)
                .write(op.sum(), n)
                .number(rows)
                .number(c)
                .run();
    }

    @Override
    void residualGrad(ResidualGradOp op, float[] mask, int rows) {
        int c = op.columns();
        long n = (long) rows * c;
        call(Kernel.RESIDUAL_GRAD)
                .read(op.dsum(), n)
                .read(mask, n)
                .write(op.dbranch(), n)
                .write(op.dbias(), c)
                .number(rows)
                .number(c)
                .run();
    }

    private NativeCall call(Kernel kernel) {
        return Scratch.get().call(instructions, kernel);
    }
}
