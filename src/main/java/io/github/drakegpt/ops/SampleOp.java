package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Tensor;

/**
 * Draws the next token of each sequence. Sequence b uses number firstSequence + b of the stream.
 *
 * @param logits (B, T, V), F32, of which the last of the T rows is used
 * @param firstSequence I32 (1), or null for 0
 * @param tokens I32 (B)
 */
public record SampleOp(Tensor logits, Sampling sampling, RandomStream stream, Tensor firstSequence, Tensor tokens)
        implements Operation {
    /** Checks the operands. */
    public SampleOp {
        operands(logits, sampling, stream, firstSequence, tokens).check();
    }

    @Override
    public Operands operands() {
        return operands(logits, sampling, stream, firstSequence, tokens);
    }

    private static Operands operands(
            Tensor logits, Sampling sampling, RandomStream stream, Tensor firstSequence, Tensor tokens) {
        return new Operands("sample")
                .readF32("logits", logits, "rows", "v")
                .readI32("step", stream.step(), "1")
                .readI32("firstSequence", firstSequence, "1")
                .of(DType.I32, Access.WRITE, "tokens", tokens, "batch");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.sample(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, logits);
    }

    /** V. */
    public int vocabSize() {
        return logits.shape().columns();
    }

    /** Reads only the last row of each sequence. */
    @Override
    public long bytes(Pass pass) {
        long others = (long) pass.rows() - pass.batch();
        return Operation.super.bytes(pass) - others * vocabSize() * DType.F32.bytes();
    }
}
