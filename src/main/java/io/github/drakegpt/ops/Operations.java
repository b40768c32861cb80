package io.github.drakegpt.ops;

/**
 * The operations that models consist of, the only part of a device that layers see. Each is about one kernel of a GPU,
 * and takes a record of its operands, made and checked once, and a pass, which changes from call to call.
 *
 * <p>Conventions. Tensors are row-major. An operation works on the first rows of buffers that may be larger: as many as
 * the pass has tokens. Outputs are overwritten, gradients of parameters too (each parameter is used once in a pass).
 * Activations and their gradients are F32, or BF16 on a device that supports it, the same for all of an operation;
 * parameters, their gradients and statistics stay F32. Operations allocate nothing, and calls from one thread take
 * effect in their order.
 *
 * <p>Letters: B batch, T tokens of a sequence, C channels, V vocabulary, H heads, S head size, A = H * S.
 */
public interface Operations {
    // ---------------------------------------------------------------------------------------------- layers

    /** See {@link LinearOp}. */
    void linear(LinearOp op, Pass pass);

    /** See {@link LinearGradOp}. */
    void linearGrad(LinearGradOp op, Pass pass);

    /** See {@link ReluGradOp}. */
    void reluGrad(ReluGradOp op, Pass pass);

    /** See {@link EmbeddingOp}. */
    void embedding(EmbeddingOp op, Pass pass);

    /** See {@link EmbeddingGradOp}. */
    void embeddingGrad(EmbeddingGradOp op, Pass pass);

    /** See {@link LayerNormOp}. */
    void layerNorm(LayerNormOp op, Pass pass);

    /** See {@link LayerNormGradOp}. */
    void layerNormGrad(LayerNormGradOp op, Pass pass);

    /** See {@link RmsNormOp}. */
    void rmsNorm(RmsNormOp op, Pass pass);

    /** See {@link RmsNormGradOp}. */
    void rmsNormGrad(RmsNormGradOp op, Pass pass);

    /** See {@link ResidualOp}. */
    void residual(ResidualOp op, Pass pass);

    /** See {@link ResidualGradOp}. */
    void residualGrad(ResidualGradOp op, Pass pass);

    /** See {@link AttentionOp}. */
    void attention(AttentionOp op, Pass pass);

    /** See {@link AttentionGradOp}. */
    void attentionGrad(AttentionGradOp op, Pass pass);

    /** See {@link AttentionCachedOp}. */
    void attentionCached(AttentionCachedOp op, Pass pass);

    /** See {@link SoftmaxOp}. */
    void softmax(SoftmaxOp op, Pass pass);

    /** See {@link SoftmaxGradOp}. */
    void softmaxGrad(SoftmaxGradOp op, Pass pass);

    /** See {@link CrossEntropyOp}. */
    void crossEntropy(CrossEntropyOp op, Pass pass);

    // ---------------------------------------------------------------------------------------------- quantization

    /** See {@link QuantizeWeightsOp}. */
    void quantizeWeights(QuantizeWeightsOp op);

    /** See {@link QuantizeRowsOp}. */
    void quantizeRows(QuantizeRowsOp op, Pass pass);

    /** See {@link QuantizeInt8Op}. */
    void quantizeInt8(QuantizeInt8Op op, Pass pass);

    /** See {@link PackedLinearOp}. */
    void packedLinear(PackedLinearOp op, Pass pass);

    // ---------------------------------------------------------------------------------------------- tokens

    /** See {@link GatherBatchOp}. */
    void gatherBatch(GatherBatchOp op, Pass pass);

    /** See {@link SampleOp}. */
    void sample(SampleOp op, Pass pass);

    /** See {@link AppendOp}. */
    void append(AppendOp op, Pass pass);

    // ---------------------------------------------------------------------------------------------- buffers

    /** See {@link ZeroOp}. */
    void zero(ZeroOp op, Pass pass);

    /** See {@link CopyOp}. */
    void copy(CopyOp op);

    /** See {@link IncrementOp}. */
    void increment(IncrementOp op);

    /** See {@link SumOp}. */
    void sum(SumOp op);

    /** See {@link GradNormOp}. */
    void gradNorm(GradNormOp op);

    /** See {@link AdamWOp}. */
    void adamW(AdamWOp op);
}
