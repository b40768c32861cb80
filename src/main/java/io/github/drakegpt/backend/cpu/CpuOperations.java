package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.ints;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.backend.cpu.NativeLibrary.Instructions;
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
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.tensor.Precision;

/**
 * The operations of a CPU, for any number of threads at once; a class for each family has the loops. Memory that an
 * operation needs for itself belongs to its thread.
 */
final class CpuOperations implements Operations {
    /**
     * Minimum multiplications of a product with packed weights that is split over the threads: 30 microseconds of one
     * thread.
     */
    private static final int LARGE_PRODUCT = 1 << 22;

    private final Workers workers;
    private final JavaLinear linear;
    private final JavaPacked packed;
    private final JavaNorms norms;
    private final JavaAttention attention;
    private final JavaSoftmax softmax;
    private final JavaQuantization quantization;
    private final JavaOptimizer optimizer;

    CpuOperations(Workers workers, Precision precision, KernelsChoice kernels) {
        this.workers = workers;
        Instructions instructions = kernels.instructions();
        boolean java = instructions == null;
        this.linear = java ? new JavaLinear(precision) : new NativeLinear(instructions, precision);
        this.packed = java || !instructions.packed() ? new JavaPacked() : new NativePacked(instructions);
        JavaDropout dropout = java ? new JavaDropout() : new NativeDropout(instructions);
        this.norms = java ? new JavaNorms(packed, dropout) : new NativeNorms(packed, dropout, instructions);
        this.attention = java ? new JavaAttention(dropout) : new NativeAttention(dropout, instructions);
        this.softmax = java ? new JavaSoftmax() : new NativeSoftmax(instructions);
        this.quantization = java ? new JavaQuantization() : new NativeQuantization(instructions);
        this.optimizer = java ? new JavaOptimizer(workers) : new NativeOptimizer(workers, instructions);
    }

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
    public void packedLinear(PackedLinearOp op, Pass pass) {
        int rows = op.rows(pass);
        int tiles = PackedMatrix.tiles(op.w().out());
        boolean large = (long) rows * op.w().out() * op.w().in() >= LARGE_PRODUCT;
        int parts = large ? Math.min(workers.count(), tiles) : 1;
        workers.run(parts, part -> packed.packedLinear(op, rows, tiles * part / parts, tiles * (part + 1) / parts));
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
        norms.residual(op, pass);
    }

    @Override
    public void residualGrad(ResidualGradOp op, Pass pass) {
        norms.residualGrad(op, pass);
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

    @Override
    public void quantizeWeights(QuantizeWeightsOp op) {
        quantization.quantizeWeights(op);
    }

    @Override
    public void quantizeRows(QuantizeRowsOp op, Pass pass) {
        quantization.quantizeRows(op, pass);
    }

    @Override
    public void quantizeInt8(QuantizeInt8Op op, Pass pass) {
        packed.quantizeInt8(op.x(), op.q(), op.rows(pass), op.columns());
    }

    @Override
    public void embedding(EmbeddingOp op, Pass pass) {
        CpuTokens.embedding(op, pass);
    }

    @Override
    public void embeddingGrad(EmbeddingGradOp op, Pass pass) {
        CpuTokens.embeddingGrad(op, pass);
    }

    @Override
    public void gatherBatch(GatherBatchOp op, Pass pass) {
        CpuTokens.gatherBatch(op, pass);
    }

    @Override
    public void sample(SampleOp op, Pass pass) {
        CpuTokens.sample(op, pass);
    }

    @Override
    public void append(AppendOp op, Pass pass) {
        CpuTokens.append(op, pass);
    }

    @Override
    public void zero(ZeroOp op, Pass pass) {
        HeapStorage.zero(op.x(), op.rows(pass) * op.columns());
    }

    @Override
    public void copy(CopyOp op) {
        JavaOptimizer.copy(op);
    }

    @Override
    public void increment(IncrementOp op) {
        ints(op.counter())[start(op.counter())]++;
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
