package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.ints;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.DeviceClock;
import io.github.drakegpt.backend.MatmulCandidate;
import io.github.drakegpt.backend.MemoryCount;
import io.github.drakegpt.backend.PackedMatmulCandidate;
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
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.List;
import java.util.OptionalDouble;
import java.util.function.IntConsumer;

/**
 * Runs on the CPU, in native code or, where there is none, in Java. The operations of layers run on the calling thread,
 * and {@link #parallel} runs several parts of a batch concurrently; operations over flat parameter buffers and large
 * products with packed weights use all threads themselves. No bit of a result depends on the number of threads, the
 * processor's instructions, or the language: the classes named Java... define the order of all sums.
 */
public final class CpuBackend implements Backend {
    private static final int SHARD_ROWS = 128;
    private static final int MAX_SHARDS = 16;
    /**
     * Minimum multiplications of a product with packed weights that is split over the threads: 30 microseconds of one
     * thread.
     */
    private static final int LARGE_PRODUCT = 1 << 22;

    private final Workers workers;
    private final Precision precision;
    private final KernelsChoice kernels;
    private final JavaLinear linear;
    private final JavaPacked packed;
    private final JavaNorms norms;
    private final JavaAttention attention;
    private final JavaSoftmax softmax;
    private final JavaQuantization quantization;
    private final JavaOptimizer optimizer;
    private final CpuTokens tokens = new CpuTokens();
    private final MemoryCount memory = new MemoryCount();

    /** In float32. @param threads that run concurrently, at least 1 */
    public CpuBackend(int threads) {
        this(threads, Precision.FP32, KernelsChoice.get());
    }

    /** @param precision FP32 or BF16 */
    CpuBackend(int threads, Precision precision, KernelsChoice kernels) {
        this.workers = new Workers(threads);
        this.precision = precision;
        this.kernels = kernels;
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
    public String name() {
        return "cpu";
    }

    @Override
    public String description() {
        return workers.count() + (workers.count() == 1 ? " thread, " : " threads, ") + kernels.description();
    }

    @Override
    public Precision precision() {
        return precision;
    }

    @Override
    public DType activations() {
        return DType.F32;
    }

    @Override
    public Arena newArena() {
        return new HeapArena(memory);
    }

    @Override
    public Tensor wrap(DType dtype, Object array, Shape shape) {
        HeapStorage storage = new HeapStorage(array);
        if (storage.size() != shape.size()) {
            throw new IllegalArgumentException("An array of " + storage.size() + " values was given for a tensor "
                    + shape + "; give one of " + shape.size() + ".");
        }
        return new Tensor(dtype, shape, storage, 0);
    }

    @Override
    public long resetPeakBytes() {
        return memory.resetPeak();
    }

    /**
     * Parts of {@link #SHARD_ROWS} rows or more, small enough to occupy several threads and large enough for efficient
     * matrix products; a power of two, so that the usual numbers of threads are all busy to the end.
     */
    @Override
    public int shards(int batch, int length) {
        int most = Math.min(Math.min(batch, MAX_SHARDS), batch * length / SHARD_ROWS);
        return Math.max(1, Integer.highestOneBit(most));
    }

    @Override
    public int workers() {
        return workers.count();
    }

    @Override
    public void parallel(int tasks, IntConsumer task) {
        workers.run(tasks, task);
    }

    @Override
    public DeviceClock newClock(Arena arena, int marks) {
        long[] nanos = new long[marks];
        return new DeviceClock() {
            @Override
            public void mark(int i) {
                nanos[i] = System.nanoTime();
            }

            @Override
            public double seconds(int from, int to) {
                return 1e-9 * (nanos[to] - nanos[from]);
            }
        };
    }

    @Override
    public List<MatmulCandidate> products() {
        return List.of(
                new CpuCandidate(this),
                new PackedMatmulCandidate(this, Quantization.B158),
                new PackedMatmulCandidate(this, Quantization.BITNET));
    }

    @Override
    public OptionalDouble measurePeakFlops() {
        Instructions instructions = kernels.instructions();
        return instructions == null
                ? OptionalDouble.empty()
                : OptionalDouble.of(new NativePeak(instructions).flops(workers));
    }

    // ---------------------------------------------------------------------------------------------- operations

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
        tokens.sample(op, pass);
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

    @Override
    public void close() {
        workers.close();
    }
}
