package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.ResidualGradOp;
import io.github.drakegpt.ops.ResidualOp;
import io.github.drakegpt.ops.RmsNormGradOp;
import io.github.drakegpt.ops.RmsNormOp;

/** Norms and residual sums. */
final class CpuNorms {
    private final Blas blas;
    private final LayerKernels layers;
    private final PackedKernels packed;

    CpuNorms(Blas blas, KernelsChoice kernels) {
        this.blas = blas;
        this.layers = kernels.layers();
        this.packed = kernels.packed();
    }

    void layerNorm(LayerNormOp op, Pass pass) {
        int rows = op.rows(pass);
        if (op.residual() != null) {
            residual(op.residual(), pass);
        }
        layers.layerNorm(op, rows);
        if (op.rounded() != null) {
            packed.quantizeInt8(op.out(), op.rounded(), rows, op.columns());
        }
    }

    void layerNormGrad(LayerNormGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        Scratch scratch = Scratch.get();
        float[] products = scratch.floats(5, rows * c);
        layers.layerNormGrad(op, products, rows);
        blas.columnSums(scratch.matrix(0, products, 0, rows, c, c), op.dweight());
        blas.columnSums(scratch.matrix(0, op.dout(), rows, c), op.dbias());
        if (op.residual() != null) {
            residualGrad(op.residual(), pass);
        }
    }

    void rmsNorm(RmsNormOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        float[] xs = floats(op.x());
        float[] weights = floats(op.weight());
        float[] outs = floats(op.out());
        for (int r = 0; r < rows; r++) {
            int xo = start(op.x()) + r * c;
            int oo = start(op.out()) + r * c;
            int wo = start(op.weight());
            float scale = (float) (1 / Math.sqrt(VectorMath.dot(xs, xo, xs, xo, c) / c + LayerKernels.NORM_EPS));
            floats(op.stats())[start(op.stats()) + r] = scale;
            for (int j = 0; j < c; j++) {
                outs[oo + j] = xs[xo + j] * scale * weights[wo + j];
            }
        }
        if (op.rounded() != null) {
            packed.quantizeInt8(op.out(), op.rounded(), rows, c);
        }
    }

    void rmsNormGrad(RmsNormGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        Scratch scratch = Scratch.get();
        float[] normed = scratch.floats(0, rows * c); // x * scale, then its product with dout
        float[] scaled = scratch.floats(1, c); // dout * weight
        float[] xs = floats(op.x());
        float[] douts = floats(op.dout());
        float[] dxs = floats(op.dx());
        float[] weights = floats(op.weight());
        int wo = start(op.weight());
        for (int r = 0; r < rows; r++) {
            int o = r * c;
            int xo = start(op.x()) + o;
            int go = start(op.dout()) + o;
            int dxo = start(op.dx()) + o;
            float scale = floats(op.stats())[start(op.stats()) + r];
            for (int j = 0; j < c; j++) {
                normed[o + j] = xs[xo + j] * scale;
            }
            for (int j = 0; j < c; j++) {
                scaled[j] = douts[go + j] * weights[wo + j];
            }
            float b = VectorMath.dot(scaled, 0, normed, o, c) / c;
            for (int j = 0; j < c; j++) {
                dxs[dxo + j] += scale * (scaled[j] - normed[o + j] * b);
            }
            for (int j = 0; j < c; j++) {
                normed[o + j] *= douts[go + j];
            }
        }
        blas.columnSums(scratch.matrix(0, normed, 0, rows, c, c), op.dweight());
    }

    void residual(ResidualOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        int n = rows * c;
        Scratch scratch = Scratch.get();
        float[] xs = Flat.in(op.x(), n, scratch, 0);
        float[] branches = Flat.in(op.branch(), n, scratch, 1);
        float[] sums = Flat.out(op.sum(), n, scratch, 2);
        if (op.bias() != null) {
            float[] biased = scratch.floats(3, n);
            Flat.fillRows(floats(op.bias()), start(op.bias()), biased, 0, rows, c);
            for (int i = 0; i < n; i++) {
                biased[i] += branches[i];
            }
            branches = biased;
        }
        float[] mask = scratch.masks().get(op.dropout(), pass, pass.firstRow() * c, n);
        if (mask == null) {
            VectorMath.add(xs, branches, sums, n);
        } else {
            for (int i = 0; i < n; i++) {
                sums[i] = xs[i] + mask[i] * branches[i];
            }
        }
        Flat.store(sums, op.sum(), n);
    }

    void residualGrad(ResidualGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        int n = rows * c;
        Scratch scratch = Scratch.get();
        float[] mask = scratch.masks().get(op.dropout(), pass, pass.firstRow() * c, n);
        if (mask == null) {
            System.arraycopy(floats(op.dsum()), start(op.dsum()), floats(op.dbranch()), start(op.dbranch()), n);
        } else {
            float[] dsums = Flat.in(op.dsum(), n, scratch, 0);
            float[] dbranches = Flat.out(op.dbranch(), n, scratch, 1);
            for (int i = 0; i < n; i++) {
                dbranches[i] = mask[i] * dsums[i];
            }
            Flat.store(dbranches, op.dbranch(), n);
        }
        if (op.dbias() != null) {
            blas.columnSums(scratch.matrix(0, op.dbranch(), rows, c), op.dbias());
        }
    }
}
