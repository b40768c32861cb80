package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.ops.AppendOp;
import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.CopyOp;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.EmbeddingGradOp;
import io.github.drakegpt.ops.EmbeddingOp;
import io.github.drakegpt.ops.GatherBatchOp;
import io.github.drakegpt.ops.GradNormOp;
import io.github.drakegpt.ops.IncrementOp;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.QuantizeInt8Op;
import io.github.drakegpt.ops.QuantizeRowsOp;
import io.github.drakegpt.ops.QuantizeWeightsOp;
import io.github.drakegpt.ops.ReluGradOp;
import io.github.drakegpt.ops.ResidualGradOp;
import io.github.drakegpt.ops.ResidualOp;
import io.github.drakegpt.ops.RmsNormGradOp;
import io.github.drakegpt.ops.RmsNormOp;
import io.github.drakegpt.ops.SampleOp;
import io.github.drakegpt.ops.SoftmaxGradOp;
import io.github.drakegpt.ops.SoftmaxOp;
import io.github.drakegpt.ops.SumOp;
import io.github.drakegpt.ops.ZeroOp;

/** The operations of a GPU; a class for each family launches them. */
final class CudaOperations implements Operations {
    private final LinearKernels linear;
    private final NormKernels norms;
    private final ResidualKernels residuals;
    private final AttentionKernels attention;
    private final SoftmaxKernels softmax;
    private final QuantizeKernels quantize;
    private final PackedKernels packed;
    private final TokenKernels tokens;
    private final OptimizerKernels optimizer;

    /** @param fuse whether to do several operations in one launch, and to run launches concurrently where possible */
    CudaOperations(CudaResources resources, boolean fuse) {
        Launcher launcher = new Launcher(resources.kernels(), resources.scratch());
        this.linear = new LinearKernels(launcher, resources, fuse);
        this.residuals = new ResidualKernels(launcher);
        this.norms = new NormKernels(launcher, residuals, fuse);
        this.attention = new AttentionKernels(launcher);
        this.softmax = new SoftmaxKernels(launcher);
        this.quantize = new QuantizeKernels(launcher);
        this.packed = new PackedKernels(launcher, resources.gemm());
        this.tokens = new TokenKernels(launcher);
        this.optimizer = new OptimizerKernels(launcher, resources.context());
    }

    // ---------------------------------------------------------------------------------------------- layers

    @Override
    public void linear(LinearOp op, Pass pass) {
        linear.linear(op, pass);
    }

    @Override
    public void linearGrad(LinearGradOp op, Pass pass) {
        linear.linearGrad(op, pass);
    }

    @Override
    public void reluGrad(ReluGradOp op, Pass pass) {
        linear.reluGrad(op, pass);
    }

    @Override
    public void embedding(EmbeddingOp op, Pass pass) {
        tokens.embedding(op, pass);
    }

    @Override
    public void embeddingGrad(EmbeddingGradOp op, Pass pass) {
        tokens.embeddingGrad(op, pass);
    }

    @Override
    public void layerNorm(LayerNormOp op, Pass pass) {
        norms.layerNorm(op, pass);
    }

    @Override
    public void layerNormGrad(LayerNormGradOp op, Pass pass) {
        norms.layerNormGrad(op, pass);
    }

    @Override
    public void rmsNorm(RmsNormOp op, Pass pass) {
        norms.rmsNorm(op, pass);
    }

    @Override
    public void rmsNormGrad(RmsNormGradOp op, Pass pass) {
        norms.rmsNormGrad(op, pass);
    }

    @Override
    public void residual(ResidualOp op, Pass pass) {
        residuals.residual(op, pass);
    }

    @Override
    public void residualGrad(ResidualGradOp op, Pass pass) {
        residuals.residualGrad(op, pass);
    }

    @Override
    public void attention(AttentionOp op, Pass pass) {
        attention.attention(op, pass);
    }

    @Override
    public void attentionGrad(AttentionGradOp op, Pass pass) {
        attention.attentionGrad(op, pass);
    }

    @Override
    public void attentionCached(AttentionCachedOp op, Pass pass) {
        attention.attentionCached(op, pass);
    }

    @Override
    public void softmax(SoftmaxOp op, Pass pass) {
        softmax.softmax(op, pass);
    }

    @Override
    public void softmaxGrad(SoftmaxGradOp op, Pass pass) {
        softmax.softmaxGrad(op, pass);
    }

    @Override
    public void crossEntropy(CrossEntropyOp op, Pass pass) {
        softmax.crossEntropy(op, pass);
    }

    // ---------------------------------------------------------------------------------------------- quantization

    @Override
    public void quantizeWeights(QuantizeWeightsOp op) {
        quantize.quantizeWeights(op);
    }

    @Override
    public void quantizeRows(QuantizeRowsOp op, Pass pass) {
        quantize.quantizeRows(op, pass);
    }

    @Override
    public void quantizeInt8(QuantizeInt8Op op, Pass pass) {
        quantize.quantizeInt8(op, pass);
    }

    @Override
    public void packedLinear(PackedLinearOp op, Pass pass) {
        packedLinear(PackedPath.of(pass.rows()), op, pass);
    }

    /** {@link #packedLinear} on a given path, for tests and benchmarks. */
    void packedLinear(PackedPath path, PackedLinearOp op, Pass pass) {
        packed.packedLinear(path, op, pass);
    }

    // ---------------------------------------------------------------------------------------------- tokens

    @Override
    public void gatherBatch(GatherBatchOp op, Pass pass) {
        tokens.gatherBatch(op, pass);
    }

    @Override
    public void sample(SampleOp op, Pass pass) {
        tokens.sample(op, pass);
    }

    @Override
    public void append(AppendOp op, Pass pass) {
        tokens.append(op, pass);
    }

    // ---------------------------------------------------------------------------------------------- buffers

    @Override
    public void zero(ZeroOp op, Pass pass) {
        optimizer.zero(op, pass);
    }

    @Override
    public void copy(CopyOp op) {
        optimizer.copy(op);
    }

    @Override
    public void increment(IncrementOp op) {
        optimizer.increment(op);
    }

    @Override
    public void sum(SumOp op) {
        optimizer.sum(op);
    }

    @Override
    public void gradNorm(GradNormOp op) {
        optimizer.gradNorm(op);
    }

    @Override
    public void adamW(AdamWOp op) {
        optimizer.adamW(op);
    }
}
