package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.cuda.Kernels.Grid;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;

/** Launches kernels, with the grids, scratch memory and sums over rows that the families of operations share. */
final class Launcher {
    static final int WARP = 32;
    static final int ROW_THREADS = 256;
    /** Number of float32 in 16 bytes. */
    static final int PACK = 4;
    /** Maximum partial sums over rows or elements, which a second launch adds up. */
    static final int MOST_PARTS = 128;

    /** Maximum length of a row for one warp, in kernels that do not keep the row. */
    private static final int WARP_ROW = 1024;

    private final Kernels kernels;
    private final Scratch scratch;

    Launcher(Kernels kernels, Scratch scratch) {
        this.kernels = kernels;
        this.scratch = scratch;
    }

    /** Launches a kernel, like {@link Kernels#launch}. */
    void launch(String file, String name, Grid grid, Object... arguments) {
        kernels.launch(file, name, grid, arguments);
    }

    /** Launches a kernel over rows of c elements, with a warp for each row, or a block for each long one. */
    void launchRows(String file, String kernel, FloatType type, int rows, int c, Object... arguments) {
        boolean warps = c <= WARP_ROW;
        String name = kernel + (warps ? "_warp" : "_block") + type.suffix();
        kernels.launch(file, name, rowGrid(warps, rows, rows), arguments);
    }

    /**
     * A grid with a row for each block, or for each warp of a block.
     *
     * @param mostBlocks maximum blocks; with more rows, each loops over several
     */
    static Grid rowGrid(boolean warps, int rows, int mostBlocks) {
        return warps
                ? new Grid(Math.min(mostBlocks, Grid.blocks(rows, ROW_THREADS / WARP)), 1, WARP, ROW_THREADS / WARP)
                : new Grid(Math.min(mostBlocks, rows), 1, ROW_THREADS, 1);
    }

    /** Device memory of undefined content, for one operation. */
    CUdeviceptr scratch(long bytes) {
        return scratch.of(bytes);
    }

    /**
     * sums (c) = the sum of the rows of x, {@code stride} elements apart: in partial sums first, where there are many
     * rows. Uses no scratch for up to {@link #MOST_PARTS} rows.
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

    /** Launches a kernel over rows that also writes their sum to sums (c), unless sums is {@link Arguments#NULL}. */
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
