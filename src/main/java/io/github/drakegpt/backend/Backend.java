package io.github.drakegpt.backend;

import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.AppendOp;
import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.CopyOp;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.EmbeddingGradOp;
import io.github.drakegpt.ops.EmbeddingOp;
import io.github.drakegpt.ops.GatherBatchOp;
import io.github.drakegpt.ops.GradNormOp;
import io.github.drakegpt.ops.IncrementOp;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.PackedWeights;
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
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.ops.SoftmaxGradOp;
import io.github.drakegpt.ops.SoftmaxOp;
import io.github.drakegpt.ops.SumOp;
import io.github.drakegpt.ops.ZeroOp;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Tensor;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.IntConsumer;

/**
 * The operations that the models are made of. Each is as coarse as the kernel that a GPU would run for it.
 *
 * <p>Conventions. Tensors are row-major. A backend whose {@link #precision} is BF16 also takes activations, their gradients
 * and the weights of matrix products in BF16, all of an operation alike, where a layer's parameters, their gradients and
 * statistics stay F32; the output of {@link #linear} may be F32 then. Tensors are F32 unless said otherwise. Sizes are arguments: an operation works on the
 * first rows of buffers that may be larger, so that buffers are allocated once for the largest batch. Outputs are
 * overwritten, gradients of parameters too (each parameter is used once in a pass). Arguments marked "or null" may be
 * left out. Operations allocate nothing, and calls from one thread take effect in their order.
 *
 * <p>Letters: B batch, T tokens of a sequence, C channels, V vocabulary, H heads, S head size, A = H * S.
 */
public interface Backend extends Operations, AutoCloseable {
    /** The name that selects it: {@code cpu}. */
    String name();

    /** One line for people: processor or GPU, threads, libraries. */
    String description();

    /** What its models compute in. */
    Precision precision();

    /** A place for the memory of one model. */
    Arena newArena();

    // ---------------------------------------------------------------------------------------------- running

    /**
     * Into how many parts, computed each on its own, a batch is best split. The gradient is the sum of the parts' and so
     * depends on this number, which therefore must not depend on the number of workers.
     */
    int shards(int batch, int length);

    /** How many tasks {@link #parallel} runs at the same time. */
    int workers();

    /** Runs {@code task} for 0 to {@code tasks} - 1, side by side where the device can, and returns when all are done. */
    void parallel(int tasks, IntConsumer task);

    /**
     * Prepares operations that will be repeated with the same arguments: each run of the returned object does what
     * {@code work} does. A GPU captures it as a graph, so {@code work} must neither read nor write tensors from the host;
     * others run {@code work} itself.
     *
     * @param arena whose tensors the operations use: what is captured is given back with it
     */
    default Runnable record(Arena arena, Runnable work) {
        return work;
    }

    /**
     * Prepares operations that each sequence of a pass goes through alone, and that are repeated: drawing the batch, the
     * forward pass, the loss, the backward pass. No operation of them reads what is a sum over the sequences, as a loss or a
     * parameter's gradient is, except for {@code gradNorm} and {@code adamW}, which may end them. A GPU does those of a small
     * model with few launches; others run them as they are.
     *
     * @param arena closing it frees what is made for the region
     * @param work calls the operations that it is given, the same ones each time
     */
    default Runnable region(Arena arena, Consumer<Operations> work) {
        return () -> work.accept(this);
    }

    /** Whether an operation is done when it returns; elsewhere, who reads a value waits for what was called before. */
    default boolean isSynchronous() {
        return true;
    }

    /**
     * How many of {@code times} repetitions of the same work are best recorded together: as many as make what it costs to
     * start them small beside what they take, and so few that they take no longer than milliseconds. 1 where an operation
     * is done when it returns, so that there is nothing to gain.
     *
     * @param times at least 1
     * @param flops floating-point operations of the work, about
     */
    default int repetitionsPerLaunch(int times, double flops) {
        return 1;
    }

    // ---------------------------------------------------------------------------------------------- measuring

    /**
     * A clock with marks 0 to {@code marks} - 1.
     *
     * @param arena with which it is given back
     */
    DeviceClock newClock(Arena arena, int marks);

    /** The ways in which this device can multiply rows with a weight matrix, that in fp32 first. */
    List<MatrixProduct> products();

    /**
     * A library to measure operations against; empty if there is none for this device.
     *
     * @param arena with which it is given back
     */
    default Optional<LibraryOperations> libraryOperations(Arena arena) {
        return Optional.empty();
    }

    /**
     * The most bytes of memory that were taken at a time since the last call of this: by arenas, and on a GPU also by what
     * operations keep for themselves.
     */
    long takePeakBytes();

    // ---------------------------------------------------------------------------------------------- layers

    /** y = x w^T + bias, then ReLU if asked. x (rows, in), w (out, in), bias (out) or null, y (rows, out). */
    void linear(Tensor x, Tensor w, Tensor bias, boolean relu, Tensor y, int rows, int in, int out);

    /**
     * Gradients of {@link #linear} without its ReLU. dy (rows, out); dx (rows, in) or null; dw (out, in); dbias (out)
     * or null.
     */
    void linearGrad(Tensor x, Tensor w, Tensor dy, Tensor dx, Tensor dw, Tensor dbias, int rows, int in, int out);

    /**
     * Gradients of a bias and the ReLU after it, in place: dy is zeroed where the output y was not positive; then dbias (C), or
     * null, is the sum of its rows. y, dy (rows, C).
     */
    void reluGrad(Tensor y, Tensor dy, Tensor dbias, int rows, int c);

    /**
     * out[b, t] = wte[tokens[b, t]] + wpe[position + t]. tokens I32 (B, T), wte (V, C), wpe (context, C) or null,
     * position I32 (1) or null for 0, out (B, T, C).
     */
    void embedding(Tensor tokens, Tensor wte, Tensor wpe, Tensor position, Tensor out, int batch, int t, int c);

    /** Gradients of {@link #embedding} at position 0: dwte (V, C), dwpe (context, C) or null, from dout (B, T, C). */
    void embeddingGrad(Tensor tokens, Tensor dout, Tensor dwte, Tensor dwpe, int batch, int t, int c);

    /**
     * out = norm(x) * weight + bias over each row, as PyTorch's LayerNorm with eps 1e-5. x, out (rows, C); weight, bias
     * (C); stats (rows, 2) keeps mean and 1 / standard deviation for the gradient.
     */
    void layerNorm(Tensor x, Tensor weight, Tensor bias, Tensor out, Tensor stats, int rows, int c);

    /**
     * Gradients of {@link #layerNorm}. The gradient of x is added to dx (rows, C), which already holds what the
     * residual path brought; dweight, dbias (C).
     */
    void layerNormGrad(
            Tensor x,
            Tensor weight,
            Tensor stats,
            Tensor dout,
            Tensor dx,
            Tensor dweight,
            Tensor dbias,
            int rows,
            int c);

    /**
     * Root mean square normalization: out = x / sqrt(mean(x^2) + 1e-5) * weight over each row (Zhang and Sennrich,
     * 2019). x, out (rows, C); weight (C); stats (rows) keeps 1 / root mean square for the gradient.
     */
    void rmsNorm(Tensor x, Tensor weight, Tensor out, Tensor stats, int rows, int c);

    /** Gradients of {@link #rmsNorm}: that of x is added to dx (rows, C); dweight (C). */
    void rmsNormGrad(Tensor x, Tensor weight, Tensor stats, Tensor dout, Tensor dx, Tensor dweight, int rows, int c);

    /**
     * What a quantized model computes with instead of its weights: each of several matrices, which lie one after another,
     * rounded by its own scale, as {@link Quantization} says. With s = 1 / max(mean(|w|), 1e-5), b1.58 gives
     * clip(round(w s), -1, 1) / s. w, q (matrices, n).
     *
     * @param quantization BITNET or B158
     * @param strength (1): where below 1, q = w + strength * (rounded - w); or null for 1
     */
    void quantizeWeights(Tensor w, Quantization quantization, Tensor strength, Tensor q, int matrices, int n);

    /**
     * What a quantized model computes with instead of the inputs of its linear layers: each row rounded to 8 bits by its own
     * scale. With s = 127 / max(max(|x|), 1e-5), round(x s) / s, ties to even. x, q (rows, C); strength as above.
     */
    void quantizeRows(Tensor x, Tensor strength, Tensor q, int rows, int c);

    /** Rounds the rows of x (rows, C) to 8 bits. */
    void quantizeInt8(Tensor x, Int8Rows q, int rows, int c);

    /**
     * {@link #rmsNorm}, then {@link #quantizeInt8} of what it gives: the two in one pass where a device can. What out (rows, C)
     * and stats (rows) hold afterwards is not said.
     */
    default void rmsNormInt8(Tensor x, Tensor weight, Tensor out, Tensor stats, Int8Rows q, int rows, int c) {
        rmsNorm(x, weight, out, stats, rows, c);
        quantizeInt8(out, q, rows, c);
    }

    /** The same for {@link #layerNorm}; stats (rows, 2). */
    default void layerNormInt8(
            Tensor x, Tensor weight, Tensor bias, Tensor out, Tensor stats, Int8Rows q, int rows, int c) {
        layerNorm(x, weight, bias, out, stats, rows, c);
        quantizeInt8(out, q, rows, c);
    }

    /** The same for {@link #residualNorm} without bias and dropout: sum = x + branch, all (rows, C), then the norm of the sum. */
    default void residualNormInt8(
            Tensor x,
            Tensor branch,
            Tensor sum,
            Tensor weight,
            Tensor bias,
            Tensor out,
            Tensor stats,
            Int8Rows q,
            int rows,
            int c) {
        residualNorm(x, branch, null, null, 0, sum, weight, bias, out, stats, rows, c);
        quantizeInt8(out, q, rows, c);
    }

    /**
     * y = x w^T + bias, then ReLU if asked, with whole numbers inside: for row m of x and row n of w,
     * y = (sum over k of x[m, k] * w[n, k], exactly) * (w.scales[n] * x.scales[m]) + bias[n]. bias (out) or null, y (rows, out).
     */
    void packedLinear(Int8Rows x, PackedWeights w, Tensor bias, boolean relu, Tensor y, int rows);

    /**
     * The softmax of each row. x, y (rows, C); y may be x. Causal: the rows are those of square matrices one after
     * another, of which row i counts up to element i; the others become 0.
     */
    void softmax(Tensor x, Tensor y, boolean causal, int rows, int c);

    /** Gradient of {@link #softmax} from its output y and dy: dx, all (rows, C); dx may be dy. */
    void softmaxGrad(Tensor y, Tensor dy, Tensor dx, boolean causal, int rows, int c);

    /**
     * The residual connection: sum = x + dropout(branch + bias). x, branch, sum (rows, C); bias (C) or null, of the layer that
     * ends the branch; dropout or null; row r is row {@code firstRow + r} of the whole batch, for the mask.
     */
    void residual(Tensor x, Tensor branch, Tensor bias, Dropout dropout, long firstRow, Tensor sum, int rows, int c);

    /**
     * Gradients of {@link #residual} for the branch and its bias: dbranch = dropout mask * dsum, both (rows, C); dbias (C), or
     * null, the sum of its rows. That for x is dsum itself.
     */
    void residualGrad(Tensor dsum, Dropout dropout, long firstRow, Tensor dbranch, Tensor dbias, int rows, int c);

    /** {@link #residual}, then {@link #layerNorm} of the sum: the two in one pass where a device can. */
    default void residualNorm(
            Tensor x,
            Tensor branch,
            Tensor branchBias,
            Dropout dropout,
            long firstRow,
            Tensor sum,
            Tensor weight,
            Tensor bias,
            Tensor out,
            Tensor stats,
            int rows,
            int c) {
        residual(x, branch, branchBias, dropout, firstRow, sum, rows, c);
        layerNorm(sum, weight, bias, out, stats, rows, c);
    }

    /**
     * {@link #layerNormGrad} of a norm of a residual sum, then {@link #residualGrad} of the sum: the two in one pass where a
     * device can. dsum (rows, C) holds what came back around the norm, and gets what comes back through it; dbranch (rows, C)
     * may be dout.
     */
    default void residualNormGrad(
            Tensor sum,
            Tensor weight,
            Tensor stats,
            Tensor dout,
            Tensor dsum,
            Tensor dweight,
            Tensor dbias,
            Dropout dropout,
            long firstRow,
            Tensor dbranch,
            Tensor dbranchBias,
            int rows,
            int c) {
        layerNormGrad(sum, weight, stats, dout, dsum, dweight, dbias, rows, c);
        residualGrad(dsum, dropout, firstRow, dbranch, dbranchBias, rows, c);
    }

    /**
     * Causal self-attention (Vaswani et al., 2017) with scale S^-0.5 and dropout on the attention weights. qkv (B, T,
     * 3A) holds in each row the queries of all heads, then the keys, then the values; out (B, T, A); stats (B, H, T, 2)
     * keeps each softmax's maximum and inverse denominator for the gradient, so that no (T, T) matrix is stored (Dao et al.,
     * "FlashAttention", 2022). A value that is NaN or infinite may reach rows before it, times their weights of 0. On a GPU
     * qkv and out may be BF16; weights are then rounded, too, before they multiply values.
     *
     * @param firstSequence place of the first sequence in the whole batch, for the mask: element (b, h, i, j) of the
     *     weights has index (((firstSequence + b) * H + h) * T + i) * T + j
     */
    void attention(
            Tensor qkv,
            Tensor out,
            Tensor stats,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize);

    /** Gradient of {@link #attention}: dqkv (B, T, 3A) from dout (B, T, A), both of the type of qkv. */
    void attentionGrad(
            Tensor qkv,
            Tensor out,
            Tensor stats,
            Tensor dout,
            Tensor dqkv,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize);

    /**
     * Attention of t new tokens at a position to themselves and to all before them. Writes their keys and values into
     * the cache first. qkv (B, t, 3A), cache (B, context, 2A) with keys before values in each row, position I32 (1), out
     * (B, t, A); on a GPU qkv, cache and out may be BF16.
     */
    void attentionCached(
            Tensor qkv,
            Tensor cache,
            Tensor position,
            Tensor out,
            int batch,
            int t,
            int context,
            int heads,
            int headSize);

    /**
     * Softmax and cross entropy. loss[0] = sum over rows of -log p(target), in nats. logits (rows, V), targets I32
     * (rows), loss (1). dlogits F32 or BF16 (rows, V), or null = (softmax(logits) - onehot(target)) * gradScale; it may be
     * logits.
     */
    void crossEntropy(Tensor logits, Tensor targets, Tensor loss, Tensor dlogits, float gradScale, int rows, int v);

    /** Sets the first n elements to zero. */
    void zero(Tensor x, int n);

    /**
     * Copies the first n elements, between F32 and BF16 rounding or widening them. Between tensors of one type it is what a
     * device does fastest, so what operations bound by memory are measured against.
     */
    void copy(Tensor source, Tensor target, int n);

    /** Counts: counter I32 (1) becomes larger by one. */
    void increment(Tensor counter);

    // ---------------------------------------------------------------------------------------------- training

    /**
     * Draws sequences of T + 1 tokens at uniformly random places of a corpus: x the first T, y the last T. corpus U16
     * (N) with N > T; x, y I32 (B, T). Sequence i of the stream is {@code firstSequence + i}.
     */
    void gatherBatch(Tensor corpus, RandomStream stream, long firstSequence, Tensor x, Tensor y, int batch, int t);

    /** sum = parts[0] + parts[1] + ..., added in that order; with {@code add}, to what sum already holds. */
    void sum(Tensor[] parts, int count, boolean add, Tensor sum);

    /** norm (1) = the square root of the sum of the squares of all elements of x. */
    void norm(Tensor x, Tensor norm);

    /**
     * One step of AdamW over flat buffers of one shape. learningRate (1), step I32 (1) counted from 1, gradNorm (1) the
     * norm of the gradients for clipping.
     */
    void adamW(
            Tensor params,
            Tensor grads,
            Tensor firstMoments,
            Tensor secondMoments,
            Tensor learningRate,
            Tensor step,
            Tensor gradNorm,
            AdamWSettings settings);

    /**
     * {@link #adamW}, then factors = params rounded to its type: the two in one pass where a device can.
     *
     * @param factors what matrix products take; {@code params} itself if that is not rounded
     */
    default void adamW(
            Tensor params,
            Tensor factors,
            Tensor grads,
            Tensor firstMoments,
            Tensor secondMoments,
            Tensor learningRate,
            Tensor step,
            Tensor gradNorm,
            AdamWSettings settings) {
        adamW(params, grads, firstMoments, secondMoments, learningRate, step, gradNorm, settings);
        if (factors != params) {
            copy(params, factors, Math.toIntExact(params.size()));
        }
    }

    // ---------------------------------------------------------------------------------------------- generation

    /**
     * Draws the next token of each sequence. logits (B, t, V), of which the last of the t rows counts; firstSequence I32
     * (1) or null for 0; tokens I32 (B). Sequence b uses number firstSequence + b of the stream.
     */
    void sample(
            Tensor logits,
            Sampling sampling,
            RandomStream stream,
            Tensor firstSequence,
            Tensor tokens,
            int batch,
            int t,
            int v);

    /** Each sequence loses its first token and gets another one behind its last. tokens I32 (B, T), next I32 (B). */
    void append(Tensor tokens, Tensor next, int batch, int t);

    // ---------------------------------------------------------------------------------------------- bridge

    private static Dropout dropout(Dropout dropout, Pass pass) {
        return pass.training() ? dropout : null;
    }

    @Override
    default void linear(LinearOp op, Pass pass) {
        linear(op.x(), op.w(), op.bias(), op.relu(), op.y(), op.rows(pass), op.in(), op.out());
    }

    @Override
    default void linearGrad(LinearGradOp op, Pass pass) {
        linearGrad(op.x(), op.w(), op.dy(), op.dx(), op.dw(), op.dbias(), op.rows(pass), op.in(), op.out());
    }

    @Override
    default void reluGrad(ReluGradOp op, Pass pass) {
        reluGrad(op.y(), op.dy(), op.dbias(), op.rows(pass), op.columns());
    }

    @Override
    default void embedding(EmbeddingOp op, Pass pass) {
        op.rows(pass);
        Tensor position = pass.cached() ? op.position() : null;
        embedding(op.tokens(), op.wte(), op.wpe(), position, op.out(), pass.batch(), pass.length(), op.columns());
    }

    @Override
    default void embeddingGrad(EmbeddingGradOp op, Pass pass) {
        op.rows(pass);
        embeddingGrad(op.tokens(), op.dout(), op.dwte(), op.dwpe(), pass.batch(), pass.length(), op.columns());
    }

    @Override
    default void layerNorm(LayerNormOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        ResidualOp r = op.residual();
        if (op.rounded() != null) {
            if (r == null) {
                layerNormInt8(op.x(), op.weight(), op.bias(), op.out(), op.stats(), op.rounded(), rows, c);
            } else {
                residualNormInt8(
                        r.x(),
                        r.branch(),
                        r.sum(),
                        op.weight(),
                        op.bias(),
                        op.out(),
                        op.stats(),
                        op.rounded(),
                        rows,
                        c);
            }
        } else if (r == null) {
            layerNorm(op.x(), op.weight(), op.bias(), op.out(), op.stats(), rows, c);
        } else {
            residualNorm(
                    r.x(),
                    r.branch(),
                    r.bias(),
                    dropout(r.dropout(), pass),
                    pass.firstRow(),
                    r.sum(),
                    op.weight(),
                    op.bias(),
                    op.out(),
                    op.stats(),
                    rows,
                    c);
        }
    }

    @Override
    default void layerNormGrad(LayerNormGradOp op, Pass pass) {
        int rows = op.rows(pass);
        int c = op.columns();
        LayerNormOp norm = op.norm();
        ResidualGradOp r = op.residual();
        if (r == null) {
            layerNormGrad(norm.x(), norm.weight(), norm.stats(), op.dout(), op.dx(), op.dweight(), op.dbias(), rows, c);
        } else {
            residualNormGrad(
                    norm.x(),
                    norm.weight(),
                    norm.stats(),
                    op.dout(),
                    op.dx(),
                    op.dweight(),
                    op.dbias(),
                    dropout(r.dropout(), pass),
                    pass.firstRow(),
                    r.dbranch(),
                    r.dbias(),
                    rows,
                    c);
        }
    }

    @Override
    default void rmsNorm(RmsNormOp op, Pass pass) {
        if (op.rounded() == null) {
            rmsNorm(op.x(), op.weight(), op.out(), op.stats(), op.rows(pass), op.columns());
        } else {
            rmsNormInt8(op.x(), op.weight(), op.out(), op.stats(), op.rounded(), op.rows(pass), op.columns());
        }
    }

    @Override
    default void rmsNormGrad(RmsNormGradOp op, Pass pass) {
        rmsNormGrad(op.x(), op.weight(), op.stats(), op.dout(), op.dx(), op.dweight(), op.rows(pass), op.columns());
    }

    @Override
    default void residual(ResidualOp op, Pass pass) {
        residual(
                op.x(),
                op.branch(),
                op.bias(),
                dropout(op.dropout(), pass),
                pass.firstRow(),
                op.sum(),
                op.rows(pass),
                op.columns());
    }

    @Override
    default void residualGrad(ResidualGradOp op, Pass pass) {
        residualGrad(
                op.dsum(),
                dropout(op.dropout(), pass),
                pass.firstRow(),
                op.dbranch(),
                op.dbias(),
                op.rows(pass),
                op.columns());
    }

    @Override
    default void attention(AttentionOp op, Pass pass) {
        op.rows(pass);
        attention(
                op.qkv(),
                op.out(),
                op.stats(),
                dropout(op.dropout(), pass),
                pass.firstSequence(),
                pass.batch(),
                pass.length(),
                op.heads(),
                op.headSize());
    }

    @Override
    default void attentionGrad(AttentionGradOp op, Pass pass) {
        op.rows(pass);
        AttentionOp f = op.forward();
        attentionGrad(
                f.qkv(),
                f.out(),
                f.stats(),
                op.dout(),
                op.dqkv(),
                dropout(f.dropout(), pass),
                pass.firstSequence(),
                pass.batch(),
                pass.length(),
                f.heads(),
                f.headSize());
    }

    @Override
    default void attentionCached(AttentionCachedOp op, Pass pass) {
        op.rows(pass);
        attentionCached(
                op.qkv(),
                op.cache(),
                op.position(),
                op.out(),
                pass.batch(),
                pass.length(),
                op.context(),
                op.heads(),
                op.headSize());
    }

    @Override
    default void softmax(SoftmaxOp op, Pass pass) {
        softmax(op.x(), op.y(), op.causal(), op.rows(pass), op.columns());
    }

    @Override
    default void softmaxGrad(SoftmaxGradOp op, Pass pass) {
        softmaxGrad(op.y(), op.dy(), op.dx(), op.causal(), op.rows(pass), op.columns());
    }

    @Override
    default void crossEntropy(CrossEntropyOp op, Pass pass) {
        crossEntropy(op.logits(), op.targets(), op.loss(), op.dlogits(), op.gradScale(), op.rows(pass), op.vocabSize());
    }

    @Override
    default void quantizeWeights(QuantizeWeightsOp op) {
        quantizeWeights(op.w(), op.quantization(), op.strength(), op.q(), op.matrices(), op.each());
    }

    @Override
    default void quantizeRows(QuantizeRowsOp op, Pass pass) {
        quantizeRows(op.x(), op.strength(), op.q(), op.rows(pass), op.columns());
    }

    @Override
    default void quantizeInt8(QuantizeInt8Op op, Pass pass) {
        quantizeInt8(op.x(), op.q(), op.rows(pass), op.columns());
    }

    @Override
    default void packedLinear(PackedLinearOp op, Pass pass) {
        packedLinear(op.x(), op.w(), op.bias(), op.relu(), op.y(), op.rows(pass));
    }

    @Override
    default void gatherBatch(GatherBatchOp op, Pass pass) {
        op.rows(pass);
        gatherBatch(op.corpus(), op.stream(), pass.firstSequence(), op.x(), op.y(), pass.batch(), pass.length());
    }

    @Override
    default void sample(SampleOp op, Pass pass) {
        op.rows(pass);
        sample(
                op.logits(),
                op.sampling(),
                op.stream(),
                op.firstSequence(),
                op.tokens(),
                pass.batch(),
                pass.length(),
                op.vocabSize());
    }

    @Override
    default void append(AppendOp op, Pass pass) {
        op.rows(pass);
        append(op.tokens(), op.next(), pass.batch(), pass.length());
    }

    @Override
    default void zero(ZeroOp op, Pass pass) {
        zero(op.x(), op.rows(pass) * op.columns());
    }

    @Override
    default void copy(CopyOp op) {
        copy(op.source(), op.target(), Math.toIntExact(op.source().size()));
    }

    @Override
    default void increment(IncrementOp op) {
        increment(op.counter());
    }

    @Override
    default void sum(SumOp op) {
        sum(op.parts().toArray(new Tensor[0]), op.parts().size(), op.add(), op.sum());
    }

    @Override
    default void gradNorm(GradNormOp op) {
        norm(op.x(), op.norm());
    }

    @Override
    default void adamW(AdamWOp op) {
        AdamWOp.State s = op.state();
        adamW(
                s.params(),
                s.matmulWeights(),
                s.grads(),
                s.firstMoments(),
                s.secondMoments(),
                op.learningRate(),
                op.step(),
                op.gradNorm(),
                op.settings());
    }

    /** Gives back what the backend has; its arenas must have been closed. */
    @Override
    void close();
}
