package io.github.drakegpt.ops;

/** Operations of which all are treated alike. */
public abstract class UniformOperations implements Operations {
    /**
     * Does what a call of any operation does.
     *
     * @param pass null for an operation without rows
     */
    protected abstract void run(Operation op, Pass pass);

    @Override
    public void linear(LinearOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void linearGrad(LinearGradOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void reluGrad(ReluGradOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void embedding(EmbeddingOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void embeddingGrad(EmbeddingGradOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void layerNorm(LayerNormOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void layerNormGrad(LayerNormGradOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void rmsNorm(RmsNormOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void rmsNormGrad(RmsNormGradOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void residual(ResidualOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void residualGrad(ResidualGradOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void attention(AttentionOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void attentionGrad(AttentionGradOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void attentionCached(AttentionCachedOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void softmax(SoftmaxOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void softmaxGrad(SoftmaxGradOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void crossEntropy(CrossEntropyOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void quantizeWeights(QuantizeWeightsOp op) {
        run(op, null);
    }

    @Override
    public void quantizeRows(QuantizeRowsOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void quantizeInt8(QuantizeInt8Op op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void packedLinear(PackedLinearOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void gatherBatch(GatherBatchOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void sample(SampleOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void append(AppendOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void zero(ZeroOp op, Pass pass) {
        run(op, pass);
    }

    @Override
    public void copy(CopyOp op) {
        run(op, null);
    }

    @Override
    public void increment(IncrementOp op) {
        run(op, null);
    }

    @Override
    public void sum(SumOp op) {
        run(op, null);
    }

    @Override
    public void gradNorm(GradNormOp op) {
        run(op, null);
    }

    @Override
    public void adamW(AdamWOp op) {
        run(op, null);
    }
}
