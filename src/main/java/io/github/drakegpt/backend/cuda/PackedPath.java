package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.cuda.Kernels.Grid;

/**
 * The ways to multiply rows of int8 with packed weights. Each takes any number of rows and gives the same bits; which one is
 * fastest depends on their number. The constants are predicted for an H200 (132 multiprocessors, 4.3 TB/s) and not measured.
 */
enum PackedPath {
    /** A kernel that unpacks weights in registers and multiplies them with so many rows at once. */
    ROWS_8(8),
    ROWS_16(16),
    ROWS_32(32),
    ROWS_64(64),
    /** Unpacks the weights to int8 in memory, where cuBLAS multiplies them. */
    CUBLAS(0);

    /** Warps of a block, as in packed.cu. */
    static final int WARPS = 8;

    /**
     * The most rows for which weights are unpacked in registers. Up to some 60 rows nothing can beat reading the weights
     * once, as the tensor cores need no longer than the memory does. Beyond, the kernel, which reads int8 from the caches,
     * reaches perhaps a third of what cuBLAS does; but cuBLAS needs the matrix to be unpacked first, which takes as long as
     * multiplying some 100 rows, and two launches more.
     */
    private static final int MOST_UNPACKED_IN_REGISTERS = 192;

    /** Warps that have enough loads of weights under way: a half of what the multiprocessors can hold. */
    private static final int BUSY_WARPS = 4096;

    /** Blocks that give work to most multiprocessors. */
    private static final int BUSY_BLOCKS = 100;

    private final int rows;

    PackedPath(int rows) {
        this.rows = rows;
    }

    /** Rows that a block multiplies with; 0 for {@link #CUBLAS}. */
    int rows() {
        return rows;
    }

    /** With fewer rows it is not worth trying. */
    int leastRows() {
        return this == CUBLAS ? 64 : 1;
    }

    /** With more rows neither. */
    int mostRows() {
        return this == CUBLAS ? Integer.MAX_VALUE : 16 * rows;
    }

    /** In a few words, behind what it multiplies. */
    String title() {
        return this == CUBLAS ? "by cuBLAS" : "by " + rows;
    }

    /**
     * How many warps of a block share the columns of a tile of weights: the fewest that keep the GPU busy. Few rows wait for
     * the weights only; of many, each block has to read all, so that few blocks are best.
     */
    int splits(int rows, int tiles) {
        int wanted = this == ROWS_8 ? BUSY_WARPS : BUSY_BLOCKS * WARPS;
        long warps = (long) tiles * Grid.blocks(rows, this.rows);
        int splits = 1;
        while (splits < WARPS && warps * splits < wanted) {
            splits *= 2;
        }
        return splits;
    }

    /** The one that is taken for so many rows. */
    static PackedPath of(int rows) {
        if (rows > MOST_UNPACKED_IN_REGISTERS) {
            return CUBLAS;
        }
        return rows <= 8 ? ROWS_8 : rows <= 16 ? ROWS_16 : rows <= 32 ? ROWS_32 : ROWS_64;
    }
}
