package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.cuda.Kernels.Grid;

/**
 * Implementations of the product of int8 rows with packed weights. Each works for any number of rows and gives the same
 * bits; which is fastest depends on that number. The constants are predicted for an H200 (132 multiprocessors, 4.3
 * TB/s), not measured.
 */
enum PackedPath {
    /** A kernel that unpacks weights in registers and multiplies them with as many rows at once as its name says. */
    ROWS_8(8),
    ROWS_16(16),
    ROWS_32(32),
    ROWS_64(64),
    /** Unpacks the weights to int8 in memory, where cuBLAS multiplies them. */
    CUBLAS(0);

    /** Warps of a block, as in packed.cu. */
    static final int WARPS = 8;

    /**
     * Maximum rows for which weights are unpacked in registers. Up to some 60 rows, the product is bound by reading the
     * weights once. Beyond, the kernel, which reads int8 from the caches, reaches perhaps a third of cuBLAS's speed;
     * but cuBLAS needs an unpacked matrix, which takes as long as multiplying some 100 rows, and two more launches.
     */
    private static final int MOST_UNPACKED_IN_REGISTERS = 192;

    /** Warps with enough loads of weights in flight: half of those that fit on the multiprocessors. */
    private static final int BUSY_WARPS = 4096;

    /** Blocks that occupy most multiprocessors. */
    private static final int BUSY_BLOCKS = 100;

    private final int rows;

    PackedPath(int rows) {
        this.rows = rows;
    }

    /** Rows of a block; 0 for {@link #CUBLAS}. */
    int rows() {
        return rows;
    }

    /** Minimum rows worth measuring. */
    int leastRows() {
        return this == CUBLAS ? 64 : 1;
    }

    /** Maximum rows worth measuring: beyond, another path is faster. */
    int mostRows() {
        return this == CUBLAS ? Integer.MAX_VALUE : 16 * rows;
    }

    /** A suffix for the name of a product. */
    String title() {
        return this == CUBLAS ? "by cuBLAS" : "by " + rows;
    }

    /**
     * Number of warps of a block that share the columns of a tile of weights: the fewest that keep the GPU busy. With
     * few rows, only the loads of weights matter; with many, each block reads all rows, so that few blocks are best.
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

    /** The path for a number of rows. */
    static PackedPath of(int rows) {
        if (rows > MOST_UNPACKED_IN_REGISTERS) {
            return CUBLAS;
        }
        return rows <= 8 ? ROWS_8 : rows <= 16 ? ROWS_16 : rows <= 32 ? ROWS_32 : ROWS_64;
    }
}
