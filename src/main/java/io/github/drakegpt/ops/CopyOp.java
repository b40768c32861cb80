package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.Tensor;

/**
 * Copies all elements; between F32 and BF16 it rounds or widens them. Between tensors of one type it reaches the
 * highest bandwidth of a device, the reference for operations that are memory bound.
 *
 * @param source of any type
 * @param target of the same size
 */
public record CopyOp(Tensor source, Tensor target) implements Operation {
    /** Checks the operands. */
    public CopyOp {
        operands(source, target).check();
        boolean floats = Operands.isFloat(source) && Operands.isFloat(target);
        if (source.dtype() != target.dtype() && !floats) {
            throw new IllegalArgumentException("copy: source is " + source.dtype() + ", target is " + target.dtype()
                    + "; use F32, BF16 or one type for both.");
        }
    }

    @Override
    public Operands operands() {
        return operands(source, target);
    }

    private static Operands operands(Tensor source, Tensor target) {
        return new Operands("copy").copied("source", source, Access.READ).copied("target", target, Access.WRITE);
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.copy(this);
    }
}
