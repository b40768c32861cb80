package io.github.drakegpt.backend.cuda;

/**
 * The ways to multiply rows of int8 with packed weights. All give the same bits; which one is fastest depends on the number
 * of rows. Each takes any number.
 */
enum PackedPath {
    /** A kernel that unpacks weights in registers and multiplies them with so many rows at once. */
    ROWS_8(8),
    ROWS_16(16),
    ROWS_32(32),
    ROWS_64(64),
    /** Unpacks the weights to int8 in memory, where cuBLAS multiplies them. */
    CUBLAS(0);

    /**
     * The most rows for which weights are unpacked in registers. Predicted for an H200, not measured: its tensor cores need
     * as long for some 60 rows as its memory for weights of two bits, so up to there nothing beats reading them once. Beyond,
     * a kernel that reads int8 from the caches reaches perhaps a third of what cuBLAS does; but cuBLAS needs a matrix that is
     * unpacked first, which takes as long as multiplying some 150 rows, and two launches more.
     */
    private static final int MOST_UNPACKED_IN_REGISTERS = 192;

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

    /** The one that is taken for so many rows. */
    static PackedPath of(int rows) {
        if (rows > MOST_UNPACKED_IN_REGISTERS) {
            return CUBLAS;
        }
        return rows <= 8 ? ROWS_8 : rows <= 16 ? ROWS_16 : rows <= 32 ? ROWS_32 : ROWS_64;
    }
}
