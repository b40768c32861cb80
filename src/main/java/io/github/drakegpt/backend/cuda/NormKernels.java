package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.cuda.Arguments.NULL;
import static io.github.drakegpt.backend.cuda.Arguments.active;
import static io.github.drakegpt.backend.cuda.Arguments.int8;
import static io.github.drakegpt.backend.cuda.Arguments.mask;
import static io.github.drakegpt.backend.cuda.Arguments.orNull;
import static io.github.drakegpt.backend.cuda.Arguments.pointer;
import static io.github.drakegpt.backend.cuda.Arguments.pointers;

import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.ResidualGradOp;
import io.github.drakegpt.ops.ResidualOp;
import io.github.drakegpt.ops.RmsNormGradOp;
import io.github.drakegpt.ops.RmsNormOp;
import io.github.drakegpt.tensor.Tensor;
import jcuda.driver.CUdeviceptr;

/** Norms, each in one launch with the residual sum before it and the rounding to 8 bits after it. */
final class NormKernels {
    /** Maximum length of a row that one warp normalizes. */
    private static final int WARP_NORM = 512;
    /** Maximum length of a row that a block normalizes in registers. */
    private static final int BLOCK_NORM = 2048;
    /**
     * Maximum length of a row that a block normalizes in shared memory; its gradient takes 64 KB, which every GPU has.
     */
    private static final int LONGEST_NORM = 8192;

    private final Launcher launcher;
    private final ResidualKernels residuals;
    private final boolean fuse;

    /** @param fuse whether to add a residual in the launch of the norm, instead of in one before it */
    NormKernels(Launcher launcher, ResidualKernels residuals, boolean fuse) {
        this.launcher = launcher;
        this.residuals = residuals;
        this.fuse = fuse;
    }

    /** Rows of a pass that are normalized: short ones in registers, long ones in shared memory. */
    private record Rows(FloatType type, int count, int columns) {
        Rows {
            if (columns > LONGEST_NORM) {
                throw new IllegalArgumentException("Rows of " + columns
                        + " elements cannot be normalized on the GPU; the most are " + LONGEST_NORM + ".");
            }
        }

        /** Suffix of their kernels' names. */
        String suffix() {
            String group = columns > BLOCK_NORM ? "_long" : columns > WARP_NORM ? "_block" : "_warp";
            return group + type.suffix();
        }

        /**
         * A grid with a warp or a block for each row.
         *
         * @param mostBlocks maximum blocks; with more rows, each loops over several
         * @param kept float32 in shared memory for each column of a long row
         */
        Grid grid(int mostBlocks, int kept) {
            Grid grid = Launcher.rowGrid(columns <= WARP_NORM, count, mostBlocks);
            if (columns <= BLOCK_NORM) {
                return grid;
            }
            int padded = Grid.blocks(columns, type.pack()) * type.pack();
            return new Grid(grid.blocksX(), 1, grid.threadsX(), 1, kept * padded * Float.BYTES);
        }

        Grid forward() {
            return grid(count, 1);
        }

        /** The grid of a gradient, in which each block writes a row of partial sums for each parameter. */
        Grid backward() {
            return grid(Launcher.MOST_PARTS, 2);
        }
    }

    void layerNorm(LayerNormOp op, Pass pass) {
        Rows rows = new Rows(FloatType.of(op.x()), op.rows(pass), op.columns());
        ResidualOp residual = op.residual();
        boolean rounds = op.rounded() != null;
        if (residual != null && !fuse && !rounds) {
            residuals.residual(residual, pass);
            residual = null;
        }
        CUdeviceptr x = pointer(residual == null ? op.x() : residual.x());
        Object[] sum = {NULL, NULL, NULL}; // branch, its bias, and the sum
        Object[] mask = mask(0, null);
        if (residual != null) {
            sum = new Object[] {pointer(residual.branch()), orNull(residual.bias()), pointer(residual.sum())};
            mask = mask(pass.firstRow(), active(residual.dropout(), pass));
        }
        Object[] parameters = pointers(op.weight(), op.bias());
        Object[] sizes = {rows.count, rows.columns};
        if (rounds) {
            Object[] out = int8(op.rounded());
            launch("layer_norm", "layer_norm_int8", rows, rows.forward(), x, sum[0], sum[2], parameters, out, sizes);
        } else {
            Object[] out = pointers(op.out(), op.stats());
            launch("layer_norm", "layer_norm", rows, rows.forward(), x, sum, parameters, out, sizes, mask);
        }
    }

    void layerNormGrad(LayerNormGradOp op, Pass pass) {
        Rows rows = new Rows(FloatType.of(op.dx()), op.rows(pass), op.columns());
        ResidualGradOp residual = fuse ? op.residual() : null;
        Grid grid = rows.backward();
        Tensor[] parameters = {op.dweight(), op.dbias(), residual == null ? null : residual.dbias()};
        int c = rows.columns;
        int sums = residual == null ? 2 : 3;
        CUdeviceptr partials = launcher.scratch((long) sums * grid.blocksX() * c * Float.BYTES); // (blocks, sums, c)
        LayerNormOp norm = op.norm();
        launch(
                "layer_norm",
                "layer_norm_grad",
                rows,
                grid,
                pointers(norm.x(), norm.weight(), norm.stats(), op.dout(), op.dx()),
                residual == null ? NULL : pointer(residual.dbranch()),
                new Object[] {partials, rows.count, c},
                residual == null ? mask(0, null) : mask(pass.firstRow(), active(residual.dropout(), pass)));
        for (int i = 0; i < sums; i++) {
            if (parameters[i] != null) {
                CUdeviceptr partial = partials.withByteOffset((long) i * c * Float.BYTES);
                launcher.columnSums(FloatType.F32, partial, pointer(parameters[i]), grid.blocksX(), c, sums * c);
            }
        }
        if (op.residual() != null && !fuse) {
            residuals.residualGrad(op.residual(), pass);
        }
    }

    void rmsNorm(RmsNormOp op, Pass pass) {
        Rows rows = new Rows(FloatType.of(op.x()), op.rows(pass), op.columns());
        boolean rounds = op.rounded() != null;
        String kernel = rounds ? "rms_norm_int8" : "rms_norm";
        Object[] out = rounds ? int8(op.rounded()) : pointers(op.out(), op.stats());
        Object[] inputs = pointers(op.x(), op.weight());
        launch("rms_norm", kernel, rows, rows.forward(), inputs, out, rows.count, rows.columns);
    }

    void rmsNormGrad(RmsNormGradOp op, Pass pass) {
        Rows rows = new Rows(FloatType.of(op.x()), op.rows(pass), op.columns());
        Grid grid = rows.backward();
        int c = rows.columns;
        CUdeviceptr partials = launcher.scratch((long) grid.blocksX() * c * Float.BYTES); // (blocks, c)
        Object[] operands = pointers(op.x(), op.weight(), op.stats(), op.dout(), op.dx());
        launch("rms_norm", "rms_norm_grad", rows, grid, operands, partials, rows.count, c);
        launcher.columnSums(FloatType.F32, partials, pointer(op.dweight()), grid.blocksX(), c, c);
    }

    private void launch(String file, String kernel, Rows rows, Grid grid, Object... arguments) {
        launcher.launch(file, kernel + rows.suffix(), grid, arguments);
    }
}
