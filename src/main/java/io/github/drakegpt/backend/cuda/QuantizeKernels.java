package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.cuda.Arguments.int8;
import static io.github.drakegpt.backend.cuda.Arguments.orNull;
import static io.github.drakegpt.backend.cuda.Arguments.pointer;

import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.QuantizeInt8Op;
import io.github.drakegpt.ops.QuantizeRowsOp;
import io.github.drakegpt.ops.QuantizeWeightsOp;
import io.github.drakegpt.quant.Quantization;
import jcuda.driver.CUdeviceptr;

/** Rounding to a few bits: of weights and activations in training, of activations to int8 for packed weights. */
final class QuantizeKernels {
    private static final int PACKS = 8; // approximate number that a thread sums

    private final Launcher launcher;

    QuantizeKernels(Launcher launcher) {
        this.launcher = launcher;
    }

    void quantizeWeights(QuantizeWeightsOp op) {
        int matrices = op.matrices();
        long n = op.each();
        int threads = Launcher.ROW_THREADS;
        int parts = Math.min(Launcher.MOST_PARTS, Grid.blocks(n, threads * Launcher.PACK * PACKS));
        CUdeviceptr w = pointer(op.w());
        CUdeviceptr sums = launcher.scratch(2L * matrices * parts * Double.BYTES); // (matrices, parts, 2)
        launcher.launch("quantize", "weight_sums_f32", new Grid(parts, matrices, threads, 1), w, sums, n);
        FloatType type = FloatType.of(op.q());
        String kernel = "quantize_weights" + type.suffix();
        Grid grid = new Grid(Grid.blocks(n, threads * type.pack()), matrices, threads, 1);
        Object[] operands = {w, sums, orNull(op.strength()), pointer(op.q())};
        int bitnet = op.quantization() == Quantization.BITNET ? 1 : 0;
        launcher.launch("quantize", kernel, grid, operands, n, parts, bitnet);
    }

    void quantizeRows(QuantizeRowsOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        Object[] operands = {pointer(op.x()), orNull(op.strength()), pointer(op.q())};
        launcher.launchRows("quantize", "quantize_rows", FloatType.of(op.x()), rows, c, operands, rows, c);
    }

    void quantizeInt8(QuantizeInt8Op op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        Object[] operands = {pointer(op.x()), int8(op.q())};
        launcher.launchRows("quantize", "quantize_int8", FloatType.F32, rows, c, operands, rows, c);
    }
}
