package io.github.drakegpt.ops;

import java.util.ArrayList;
import java.util.List;

/** Records the operations that are called, to run them later or in another way. */
public final class OperationList implements Operations {
    private final List<Call> calls = new ArrayList<>();

    /** @param pass null for an operation without rows */
    public record Call(Operation operation, Pass pass) {
        /** Runs the operation. */
        public void run(Operations on) {
            operation.run(on, pass);
        }
    }

    /** The recorded calls, in order. */
    public List<Call> calls() {
        return calls;
    }

    @Override
    public void linear(LinearOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void linearGrad(LinearGradOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void reluGrad(ReluGradOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void embedding(EmbeddingOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void embeddingGrad(EmbeddingGradOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void layerNorm(LayerNormOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void layerNormGrad(LayerNormGradOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void rmsNorm(RmsNormOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void rmsNormGrad(RmsNormGradOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void residual(ResidualOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void residualGrad(ResidualGradOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void attention(AttentionOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void attentionGrad(AttentionGradOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void attentionCached(AttentionCachedOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void softmax(SoftmaxOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void softmaxGrad(SoftmaxGradOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void crossEntropy(CrossEntropyOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void quantizeWeights(QuantizeWeightsOp op) {
        calls.add(new Call(op, null));
    }

    @Override
    public void quantizeRows(QuantizeRowsOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void quantizeInt8(QuantizeInt8Op op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void packedLinear(PackedLinearOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void gatherBatch(GatherBatchOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void sample(SampleOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void append(AppendOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void zero(ZeroOp op, Pass pass) {
        calls.add(new Call(op, pass));
    }

    @Override
    public void copy(CopyOp op) {
        calls.add(new Call(op, null));
    }

    @Override
    public void increment(IncrementOp op) {
        calls.add(new Call(op, null));
    }

    @Override
    public void sum(SumOp op) {
        calls.add(new Call(op, null));
    }

    @Override
    public void gradNorm(GradNormOp op) {
        calls.add(new Call(op, null));
    }

    @Override
    public void adamW(AdamWOp op) {
        calls.add(new Call(op, null));
    }
}
