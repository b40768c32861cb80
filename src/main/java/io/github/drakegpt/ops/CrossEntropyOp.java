package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Softmax and cross entropy: loss = sum over rows of -log p(target), in nats, and dlogits = (softmax(logits) -
 * onehot(target)) * gradScale.
 *
 * @param logits (rows, V), F32
 * @param targets I32 (rows), from 0 to V - 1; for any other, a device that cannot report an error, such as a GPU, gives
 *     a loss of NaN
 * @param loss (1), F32
 * @param dlogits (rows, V), F32 or BF16; may be logits; or null
 */
public record CrossEntropyOp(Tensor logits, Tensor targets, Tensor loss, Tensor dlogits, float gradScale)
        implements Operation {
    /** Checks the operands. */
    public CrossEntropyOp {
        operands(logits, targets, loss, dlogits, gradScale).check();
    }

    @Override
    public Operands operands() {
        return operands(logits, targets, loss, dlogits, gradScale);
    }

    private static Operands operands(Tensor logits, Tensor targets, Tensor loss, Tensor dlogits, float gradScale) {
        return new Operands("crossEntropy")
                .readF32("logits", logits, "rows", "v")
                .readI32("targets", targets, "rows")
                .sum("loss", loss, "1")
                .any(Access.WRITE, "dlogits", dlogits, "rows", "v")
                .orOver("logits");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.crossEntropy(this, pass);
    }

    /** Rows of a pass, which the operands must have. */
    public int rows(Pass pass) {
        return Operation.rows(pass, targets.size());
    }

    /** V. */
    public int vocabSize() {
        return logits.shape().columns();
    }
}
