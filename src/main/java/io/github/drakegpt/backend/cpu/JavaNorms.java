package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;
import static io.github.drakegpt.backend.cpu.HeapStorage.zero;

import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.ResidualGradOp;
import io.github.drakegpt.ops.ResidualOp;
import io.github.drakegpt.ops.RmsNormGradOp;
import io.github.drakegpt.ops.RmsNormOp;
import io.github.drakegpt.tensor.Tensor;

/**
 * Norms and residual sums: the definition of their bits, and what machines without native code compute. Sums over rows
 * run from the first to the last, those within a row are {@link VectorMath#sum}'s.
 */
class JavaNorms {
    /** Epsilon that norms add to the variance. */
    static final float EPS = 1e-5f;

    private final JavaPacked packed;
    private final JavaDropout dropout;

    JavaNorms(JavaPacked packed, JavaDropout dropout) {
        this.packed = packed;
        this.dropout = dropout;
    }

    final void layerNorm(LayerNormOp op, Pass pass) {
        int rows = op.rows(pass);
        if (op.residual() != null) {
            residual(op.residual(), pass);
        }
        layerNorm(op, rows);
        if (op.rounded() != null) {
            packed.quantizeInt8(op.out(), op.rounded(), rows, op.columns());
        }
    }

    final void layerNormGrad(LayerNormGradOp op, Pass pass) {
        layerNormGrad(op, op.rows(pass));
        if (op.residual() != null) {
            residualGrad(op.residual(), pass);
        }
    }

    final void rmsNorm(RmsNormOp op, Pass pass) {
        int rows = op.rows(pass);
        rmsNorm(op, rows);
        if (op.rounded() != null) {
            packed.quantizeInt8(op.out(), op.rounded(), rows, op.columns());
        }
    }

    final void rmsNormGrad(RmsNormGradOp op, Pass pass) {
        rmsNormGrad(op, op.rows(pass));
    }

    final void residual(ResidualOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        residual(op, dropout.mask(op.dropout(), pass, pass.firstRow() * c, rows * c), rows);
    }

    final void residualGrad(ResidualGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        residualGrad(op, dropout.mask(op.dropout(), pass, pass.firstRow() * c, rows * c), rows);
    }

    // ---------------------------------------------------------------- what native code does as well

    /** The norm alone. */
    void layerNorm(LayerNormOp op, int rows) {
        int c = op.columns();
        float[] xs = floats(op.x());
        float[] weights = floats(op.weight());
        float[] biases = floats(op.bias());
        float[] outs = floats(op.out());
        float[] stats = floats(op.stats());
        int wo = start(op.weight());
        int bo = start(op.bias());
        int so = start(op.stats());
        float[] centred = Scratch.get().floats(0, c);
        for (int r = 0; r < rows; r++) {
            int xo = start(op.x()) + r * c;
            int oo = start(op.out()) + r * c;
            float mean = VectorMath.sum(xs, xo, c) / c;
            for (int j = 0; j < c; j++) {
                centred[j] = xs[xo + j] - mean;
            }
            float rstd = 1 / (float) Math.sqrt(VectorMath.dot(centred, 0, centred, 0, c) / c + EPS);
            for (int j = 0; j < c; j++) {
                outs[oo + j] = Math.fma(centred[j] * rstd, weights[wo + j], biases[bo + j]);
            }
            stats[so + 2 * r] = mean;
            stats[so + 2 * r + 1] = rstd;
        }
    }

    /** The gradients of the norm alone. */
    void layerNormGrad(LayerNormGradOp op, int rows) {
        LayerNormOp norm = op.norm();
        int c = op.columns();
        float[] xs = floats(norm.x());
        float[] stats = floats(norm.stats());
        float[] douts = floats(op.dout());
        float[] dxs = floats(op.dx());
        float[] dbias = floats(op.dbias());
        int so = start(norm.stats());
        int dbo = start(op.dbias());
        Scratch scratch = Scratch.get();
        float[] normed = scratch.floats(0, c);
        float[] scaled = scratch.floats(1, c);
        zero(op.dweight(), c);
        zero(op.dbias(), c);
        for (int r = 0; r < rows; r++) {
            int xo = start(norm.x()) + r * c;
            int go = start(op.dout()) + r * c;
            int dxo = start(op.dx()) + r * c;
            float mean = stats[so + 2 * r];
            float rstd = stats[so + 2 * r + 1];
            for (int j = 0; j < c; j++) {
                normed[j] = (xs[xo + j] - mean) * rstd;
            }
            multiply(douts, go, norm.weight(), scaled, c);
            addProducts(douts, go, normed, op.dweight(), c);
            VectorMath.add(dbias, dbo, douts, go, c);
            float a = VectorMath.sum(scaled, 0, c) / c;
            float b = VectorMath.dot(scaled, 0, normed, 0, c) / c;
            for (int j = 0; j < c; j++) {
                dxs[dxo + j] = Math.fma(rstd, Math.fma(-normed[j], b, scaled[j] - a), dxs[dxo + j]);
            }
        }
    }

    /** The norm alone. */
    void rmsNorm(RmsNormOp op, int rows) {
        int c = op.columns();
        float[] xs = floats(op.x());
        float[] weights = floats(op.weight());
        float[] outs = floats(op.out());
        int wo = start(op.weight());
        for (int r = 0; r < rows; r++) {
            int xo = start(op.x()) + r * c;
            int oo = start(op.out()) + r * c;
            float scale = 1 / (float) Math.sqrt(VectorMath.dot(xs, xo, xs, xo, c) / c + EPS);
            floats(op.stats())[start(op.stats()) + r] = scale;
            for (int j = 0; j < c; j++) {
                outs[oo + j] = xs[xo + j] * scale * weights[wo + j];
            }
        }
    }

    void rmsNormGrad(RmsNormGradOp op, int rows) {
        int c = op.columns();
        float[] xs = floats(op.x());
        float[] douts = floats(op.dout());
        float[] dxs = floats(op.dx());
        Scratch scratch = Scratch.get();
        float[] normed = scratch.floats(0, c);
        float[] scaled = scratch.floats(1, c);
        zero(op.dweight(), c);
        for (int r = 0; r < rows; r++) {
            int xo = start(op.x()) + r * c;
            int go = start(op.dout()) + r * c;
            int dxo = start(op.dx()) + r * c;
            float scale = floats(op.stats())[start(op.stats()) + r];
            for (int j = 0; j < c; j++) {
                normed[j] = xs[xo + j] * scale;
            }
            multiply(douts, go, op.weight(), scaled, c);
            addProducts(douts, go, normed, op.dweight(), c);
            float b = VectorMath.dot(scaled, 0, normed, 0, c) / c;
            for (int j = 0; j < c; j++) {
                dxs[dxo + j] = Math.fma(scale, Math.fma(-normed[j], b, scaled[j]), dxs[dxo + j]);
            }
        }
    }

    /** @param mask factors of dropout, or null */
    void residual(ResidualOp op, float[] mask, int rows) {
        int c = op.columns();
        float[] xs = floats(op.x());
        float[] branches = floats(op.branch());
        float[] sums = floats(op.sum());
        float[] biases = op.bias() == null ? null : floats(op.bias());
        for (int r = 0; r < rows; r++) {
            int xo = start(op.x()) + r * c;
            int bo = start(op.branch()) + r * c;
            int so = start(op.sum()) + r * c;
            for (int j = 0; j < c; j++) {
                float branch = branches[bo + j];
                if (biases != null) {
                    branch += biases[start(op.bias()) + j];
                }
                sums[so + j] = mask == null ? xs[xo + j] + branch : Math.fma(mask[r * c + j], branch, xs[xo + j]);
            }
        }
    }

    /** @param mask factors of dropout, or null */
    void residualGrad(ResidualGradOp op, float[] mask, int rows) {
        int n = rows * op.columns();
        float[] dsums = floats(op.dsum());
        float[] dbranches = floats(op.dbranch());
        int so = start(op.dsum());
        int bo = start(op.dbranch());
        System.arraycopy(dsums, so, dbranches, bo, n);
        for (int i = 0; i < n && mask != null; i++) {
            dbranches[bo + i] *= mask[i];
        }
        if (op.dbias() != null) {
            JavaMatmul.columnSums(dbranches, bo, rows, op.columns(), floats(op.dbias()), start(op.dbias()));
        }
    }

    /** y (c) = x[xo..] * weight. */
    private static void multiply(float[] x, int xo, Tensor weight, float[] y, int c) {
        float[] weights = floats(weight);
        int wo = start(weight);
        for (int j = 0; j < c; j++) {
            y[j] = x[xo + j] * weights[wo + j];
        }
    }

    /** sums (c) += x[xo..] * y, each rounded once. */
    private static void addProducts(float[] x, int xo, float[] y, Tensor sums, int c) {
        float[] s = floats(sums);
        int so = start(sums);
        for (int j = 0; j < c; j++) {
            s[so + j] = Math.fma(x[xo + j], y[j], s[so + j]);
        }
    }
}
