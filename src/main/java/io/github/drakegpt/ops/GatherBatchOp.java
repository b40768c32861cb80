package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Tensor;

/**
 * Draws sequences of T + 1 tokens at uniformly random places of a corpus: x the first T, y the last T. Sequence i of the
 * pass uses number (first sequence of the pass + i) of the stream.
 *
 * @param corpus U16 (N) with N &gt; T
 * @param x I32 (B, T)
 * @param y I32 (B, T)
 */
public record GatherBatchOp(Tensor corpus, RandomStream stream, Tensor x, Tensor y) implements Operation {
    /** Checks the operands. */
    public GatherBatchOp {
        operands(corpus, stream, x, y).check();
    }

    @Override
    public Operands operands() {
        return operands(corpus, stream, x, y);
    }

    private static Operands operands(Tensor corpus, RandomStream stream, Tensor x, Tensor y) {
        return new Operands("gatherBatch")
                .of(DType.U16, Access.READ, "corpus", corpus, "n")
                .readI32("step", stream.step(), "1")
                .of(DType.I32, Access.WRITE, "x", x, "rows")
                .of(DType.I32, Access.WRITE, "y", y, "rows");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.gatherBatch(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, x.size());
    }

    /** Reads only the drawn sequences of the corpus. */
    @Override
    public long bytes(Pass pass) {
        long drawn = (long) pass.rows() + pass.batch();
        return Operation.super.bytes(pass) + (drawn - corpus.size()) * DType.U16.bytes();
    }
}
