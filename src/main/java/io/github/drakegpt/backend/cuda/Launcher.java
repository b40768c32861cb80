package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.cuda.Kernels.Grid;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;

/** Launches kernels: what the families of operations share of grids, scratch memory and sums over rows. */
final class Launcher {
    static final int WARP = 32;
    static final int ROW_THREADS = 256;
    /** float32 of 16 bytes. */
    static final int PACK = 4;
    /** Blocks that share sums over many rows or elements; their parts are then added up. */
    static final int MOST_PARTS = 128;

    /** The longest row that a warp works on alone, where it need not keep it. */
    private static final int WARP_ROW = 1024;

    private final Kernels kernels;
    private final Scratch scratch;

    Launcher(Kernels kernels, Scratch scratch) {
        this.kernels = kernels;
        this.scratch = scratch;
    }

    /** Launches a kernel, as {@link Kernels#launch} says. */
    void launch(String file, String name, Grid grid, Object... arguments) {
        kernels.launch(file, name, grid, arguments);
    }

    /** Launches a kernel over rows of c elements: with a warp for each row, or a block for long ones. */
    void launchRows(String file, String kernel, FloatType type, int rows, int c, Object... arguments) {
        boolean warps = c <= WARP_ROW;
        String name = kernel + (warps ? "_warp" : "_block") + type.suffix();
        kernels.launch(file, name, rowGrid(warps, rows, rows), arguments);
    }

    /**
     * Blocks that each have a row, or one for each of their warps.
     *
     * @param mostBlocks each of which then takes several rows one after another
     */
    static Grid rowGrid(boolean warps, int rows, int mostBlocks) {
        return warps
                ? new Grid(Math.min(mostBlocks, Grid.blocks(rows, ROW_THREADS / WARP)), 1, WARP, ROW_THREADS / WARP)
                : new Grid(Math.min(mostBlocks, rows), 1, ROW_THREADS, 1);
    }

    /** Device memory of so many bytes that an operation uses until it is done; what it held is lost. */
    CUdeviceptr scratch(long bytes) {
        return scratch.of(bytes);
    }

    /**
     * sums (c) = the sum of the rows of x, {@code stride} elements apart: of parts of the rows first, where there are many.
     * Uses no scratch for up to {@link #MOST_PARTS} rows.
     */
    void columnSums(FloatType type, Pointer x, Pointer sums, int rows, int c, int stride) {
        String kernel = "column_sums" + type.suffix();
        addRows(
                type,
                sums,
                rows,
                c,
                (grid, first, each) -> launch("sum", kernel, grid, x, first, rows, c, stride, each));
    }

    /** A kernel that sums {@code each} rows into a row of {@code sums}, for as many of them as its grid has blocks along y. */
    interface RowAdder {
        void launch(Grid grid, Pointer sums, int each);
    }

    /** sums (c) = the sum of the rows that a kernel goes through; where sums is {@link Arguments#NULL}, it just goes through them. */
    void addRows(FloatType type, Pointer sums, int rows, int c, RowAdder kernel) {
        int parts = Math.min(MOST_PARTS, Grid.blocks(rows, MOST_PARTS));
        boolean direct = parts == 1 || sums == Arguments.NULL;
        Pointer first = direct ? sums : scratch((long) parts * c * Float.BYTES);
        kernel.launch(new Grid(Grid.blocks(c, WARP * type.pack()), parts, WARP, 8), first, Grid.blocks(rows, parts));
        if (!direct) {
            columnSums(FloatType.F32, first, sums, parts, c, c);
        }
    }
}
