package io.github.drakegpt.backend.cuda;

import static io.github.drakegpt.backend.cuda.Arguments.orNull;
import static io.github.drakegpt.backend.cuda.Arguments.pointer;

import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.tensor.DType;
import jcuda.driver.CUdeviceptr;

/** Linear layers with packed weights, on the paths of {@link PackedPath}. */
final class PackedKernels {
    private final Launcher launcher;
    private final Gemm gemm;

    PackedKernels(Launcher launcher, Gemm gemm) {
        this.launcher = launcher;
        this.gemm = gemm;
    }

    void packedLinear(PackedPath path, PackedLinearOp op, Pass pass) {
        int rows = op.rows(pass);
        PackedWeights w = op.w();
        CUdeviceptr codes = DeviceStorage.aligned(w.codes());
        CUdeviceptr values = DeviceStorage.aligned(op.x().values());
        int bits = PackedMatrix.bits(w.quantization());
        int tiles = PackedMatrix.tiles(w.out());
        int units = op.x().stride() / PackedMatrix.unitColumns(w.quantization());
        Object[] scales = {pointer(op.x().scales()), pointer(op.x().sums()), pointer(w.scales())};
        Object[] outputs = {scales, orNull(op.bias()), pointer(op.y()), rows, w.out(), op.relu() ? 1 : 0};
        if (path == PackedPath.CUBLAS) {
            // unpacked for each product: half the time of multiplying the fewest rows that come here, and a tenth from
            // a
            // thousand on; keeping the matrix would take four or eight times the memory of the codes
            int stride = op.x().stride();
            int width = tiles * PackedMatrix.TILE_ROWS;
            int packs = tiles * units * Launcher.WARP;
            long matrixBytes = (long) width * stride;
            CUdeviceptr memory = launcher.scratch(matrixBytes + (long) rows * width * Integer.BYTES);
            DeviceMatrix matrix = new DeviceMatrix(memory, DType.I8, width, stride);
            DeviceMatrix sums = new DeviceMatrix(memory.withByteOffset(matrixBytes), DType.I32, rows, width);
            launcher.launch("packed", "unpack_codes", Grid.of(packs, 1), codes, memory, bits, units, packs);
            gemm.multiply(new DeviceMatrix(values, DType.I8, rows, stride), matrix.transpose(), sums);
            Grid grid = Grid.of((long) rows * w.out(), 1);
            launcher.launch("packed", "scale_products_f32", grid, sums.data(), width, bits, outputs);
            return;
        }
        int splits = path.splits(rows, tiles);
        String kernel = (bits == 1 ? "packed_linear_1bit_" : "packed_linear_2bit_") + path.rows();
        int blocks = Grid.blocks(tiles, PackedPath.WARPS / splits);
        Grid grid = new Grid(blocks, Grid.blocks(rows, path.rows()), Launcher.WARP, PackedPath.WARPS);
        launcher.launch("packed", kernel, grid, codes, values, outputs, units, splits);
    }
}
