package io.github.drakegpt.ops;

import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Tensor;

/**
 * A step of AdamW over flat buffers of one size, as {@link AdamWSettings} says; then matmulWeights = params rounded.
 *
 * @param learningRate (1), F32
 * @param step I32 (1), counted from 1
 * @param gradNorm (1), F32: the norm of the gradients, for clipping
 */
public record AdamWOp(State state, Tensor learningRate, Tensor step, Tensor gradNorm, AdamWSettings settings)
        implements Operation {
    /**
     * The parameters and the state of the optimizer; each (n).
     *
     * @param params F32
     * @param matmulWeights BF16: params as matrix products take them; {@code params} itself if those take F32
     * @param grads F32
     * @param firstMoments F32, mean of the gradients
     * @param secondMoments F32, mean of the squared gradients
     */
    public record State(Tensor params, Tensor matmulWeights, Tensor grads, Tensor firstMoments, Tensor secondMoments) {
        /** Whether matmulWeights are a rounded copy. */
        public boolean rounds() {
            return matmulWeights != params;
        }
    }

    /** Checks the operands. */
    public AdamWOp {
        operands(state, learningRate, step, gradNorm).check();
    }

    @Override
    public Operands operands() {
        return operands(state, learningRate, step, gradNorm);
    }

    private static Operands operands(State state, Tensor learningRate, Tensor step, Tensor gradNorm) {
        return new Operands("adamW")
                .of(DType.F32, Access.UPDATE, "params", state.params, "n")
                .of(DType.BF16, Access.WRITE, "matmulWeights", state.rounds() ? state.matmulWeights : null, "n")
                .readF32("grads", state.grads, "n")
                .of(DType.F32, Access.UPDATE, "firstMoments", state.firstMoments, "n")
                .of(DType.F32, Access.UPDATE, "secondMoments", state.secondMoments, "n")
                .readF32("learningRate", learningRate, "1")
                .readI32("step", step, "1")
                .readF32("gradNorm", gradNorm, "1");
    }

    @Override
    public void run(Operations on, Pass pass) {
        on.adamW(this);
    }

    /** n. */
    public int size() {
        return Math.toIntExact(state.params.size());
    }
}
