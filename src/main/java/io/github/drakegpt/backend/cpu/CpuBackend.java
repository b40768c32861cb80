package io.github.drakegpt.backend.cpu;

import static io.github.drakegpt.backend.cpu.HeapStorage.floats;
import static io.github.drakegpt.backend.cpu.HeapStorage.ints;
import static io.github.drakegpt.backend.cpu.HeapStorage.start;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.DeviceClock;
import io.github.drakegpt.backend.MatrixProduct;
import io.github.drakegpt.backend.MemoryCount;
import io.github.drakegpt.backend.PackedMatrixProduct;
import io.github.drakegpt.backend.Precision;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.Philox;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * Runs on the CPU: OpenBLAS for the matrix products, loops over arrays for the rest. The operations of layers run on the
 * calling thread, and {@link #parallel} runs several parts of a batch side by side; the operations over flat parameter
 * buffers and large products with packed weights spread over the threads themselves. No result depends on the number of threads.
 */
public final class CpuBackend implements Backend {
    private static final float NORM_EPS = 1e-5f;
    /** Elements of a flat buffer that one task takes: large enough to be worth handing out. */
    private static final int CHUNK = 1 << 17;

    /**
     * Added and taken away again, it rounds what is far below it to multiples of 1e-31 and leaves the rest as it is.
     * Without that the moments of a parameter whose gradient is zero would shrink until they, or their products, are
     * subnormal numbers, which are a hundred times as slow to compute with.
     */
    private static final float TINY = 1e-24f;

    /** Times its square, the smallest positive number is above 1. */
    private static final float HUGE = 1e30f;

    /** What quantization divides by is at least this, as in the original code. */
    static final float SMALLEST_SCALE = 1e-5f;

    /** Added and taken away again, it rounds numbers below 2^22 to whole ones, ties to even, in vector instructions. */
    static final float ROUNDING = 0x1.8p23f;

    private static final int SHARD_ROWS = 128;
    private static final int MAX_SHARDS = 16;
    /** Elements of the scratch for cross entropy: rows are taken together so that exp runs over long stretches. */
    private static final int CROSS_ENTROPY_CHUNK = 4096;

    /** Multiplications from which on a product with packed weights is worth handing out: 30 microseconds of one thread. */
    private static final int LARGE_PRODUCT = 1 << 22;

    private final Workers workers;
    private final Blas blas;
    private final KernelsChoice kernels;
    private final CpuAttention attention;
    private final CpuSampler sampler = new CpuSampler();
    private final MemoryCount memory = new MemoryCount();

    /** @param threads that work at the same time, at least 1 */
    public CpuBackend(int threads) {
        this(threads, OpenBlas.get(), KernelsChoice.get());
    }

    CpuBackend(int threads, Blas blas, KernelsChoice kernels) {
        this.workers = new Workers(threads);
        this.blas = blas;
        this.kernels = kernels;
        this.attention = new CpuAttention(blas, kernels.layers());
    }

    @Override
    public String name() {
        return "cpu";
    }

    @Override
    public String description() {
        return workers.count() + (workers.count() == 1 ? " thread, " : " threads, ") + OpenBlas.description() + ", "
                + kernels.description();
    }

    @Override
    public Precision precision() {
        return Precision.FP32;
    }

    @Override
    public Arena newArena() {
        return new HeapArena(memory);
    }

    @Override
    public long takePeakBytes() {
        return memory.takePeak();
    }

    /**
     * Parts of {@link #SHARD_ROWS} rows or more, small enough that several threads find work and large enough that matrix
     * products stay efficient; a power of two, so that the usual numbers of threads all have work to the end.
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
    public List<MatrixProduct> products() {
        return List.of(
                new CpuFp32Product(this, blas),
                new PackedMatrixProduct(this, Quantization.B158),
                new PackedMatrixProduct(this, Quantization.BITNET));
    }

    // ---------------------------------------------------------------------------------------------- layers

    @Override
    public void linear(Tensor x, Tensor w, Tensor bias, boolean relu, Tensor y, int rows, int in, int out) {
        float[] ys = floats(y);
        int yo = start(y);
        float beta = 0;
        if (bias != null) {
            Flat.fillRows(floats(bias), start(bias), ys, yo, rows, out);
            beta = 1;
        }
        if (rows == 1) {
            blas.gemv(false, out, in, floats(w), start(w), in, floats(x), start(x), beta, ys, yo);
        } else {
            blas.gemm(
                    false, true, rows, out, in, 1, floats(x), start(x), in, floats(w), start(w), in, beta, ys, yo, out);
        }
        if (relu) {
            int n = rows * out;
            for (int i = 0; i < n; i++) {
                ys[yo + i] = Math.max(ys[yo + i], 0f);
            }
        }
    }

    @Override
    public void linearGrad(
            Tensor x, Tensor w, Tensor dy, Tensor dx, Tensor dw, Tensor dbias, int rows, int in, int out) {
        float[] dys = floats(dy);
        int dyo = start(dy);
        // dw = dy^T x
        blas.gemm(true, false, out, in, rows, 1, dys, dyo, out, floats(x), start(x), in, 0, floats(dw), start(dw), in);
        if (dbias != null) {
            columnSums(dys, dyo, rows, out, dbias);
        }
        if (dx != null) {
            // dx = dy w
            blas.gemm(
                    false,
                    false,
                    rows,
                    in,
                    out,
                    1,
                    dys,
                    dyo,
                    out,
                    floats(w),
                    start(w),
                    in,
                    0,
                    floats(dx),
                    start(dx),
                    in);
        }
    }

    /** sums (c) = the sum of the rows of x (rows, c): the transposed matrix times a vector of ones. */
    private void columnSums(float[] x, int xo, int rows, int c, Tensor sums) {
        float[] ones = Scratch.get().ones(rows);
        blas.gemv(true, rows, c, x, xo, c, ones, 0, 0, floats(sums), start(sums));
    }

    @Override
    public void reluGrad(Tensor y, Tensor dy, Tensor dbias, int rows, int c) {
        int n = rows * c;
        Scratch scratch = Scratch.get();
        float[] ys = Flat.in(y, n, scratch, 0);
        float[] dys = Flat.in(dy, n, scratch, 1);
        for (int i = 0; i < n; i++) {
            // times 1 where y > 0, else 0: vectorised, which a comparison is not. Adding 0 makes -0 a 0.
            dys[i] = dys[i] * Math.min(ys[i] * HUGE * HUGE, 1f) + 0f;
        }
        Flat.store(dys, dy, n);
        if (dbias != null) {
            columnSums(floats(dy), start(dy), rows, c, dbias);
        }
    }

    @Override
    public void embedding(Tensor tokens, Tensor wte, Tensor wpe, Tensor position, Tensor out, int batch, int t, int c) {
        int first = position == null ? 0 : ints(position)[start(position)];
        int[] ids = ints(tokens);
        float[] table = floats(wte);
        float[] outs = floats(out);
        for (int r = 0; r < batch * t; r++) {
            int row = start(wte) + ids[start(tokens) + r] * c;
            int o = start(out) + r * c;
            System.arraycopy(table, row, outs, o, c);
            if (wpe != null) {
                add(outs, o, floats(wpe), start(wpe) + (first + r % t) * c, c);
            }
        }
    }

    @Override
    public void embeddingGrad(Tensor tokens, Tensor dout, Tensor dwte, Tensor dwpe, int batch, int t, int c) {
        int[] ids = ints(tokens);
        float[] douts = floats(dout);
        zero(dwte, (int) dwte.size());
        if (dwpe != null) {
            zero(dwpe, (int) dwpe.size());
        }
        for (int r = 0; r < batch * t; r++) {
            int o = start(dout) + r * c;
            add(floats(dwte), start(dwte) + ids[start(tokens) + r] * c, douts, o, c);
            if (dwpe != null) {
                add(floats(dwpe), start(dwpe) + r % t * c, douts, o, c);
            }
        }
    }

    private static void add(float[] y, int yo, float[] x, int xo, int n) {
        for (int i = 0; i < n; i++) {
            y[yo + i] += x[xo + i];
        }
    }

    @Override
    public void layerNorm(Tensor x, Tensor weight, Tensor bias, Tensor out, Tensor stats, int rows, int c) {
        kernels.layers().norm(x, weight, bias, out, stats, rows, c, NORM_EPS);
    }

    @Override
    public void layerNormGrad(
            Tensor x,
            Tensor weight,
            Tensor stats,
            Tensor dout,
            Tensor dx,
            Tensor dweight,
            Tensor dbias,
            int rows,
            int c) {
        float[] products = Scratch.get().floats(5, rows * c);
        kernels.layers().normGrad(x, weight, stats, dout, dx, products, rows, c);
        columnSums(products, 0, rows, c, dweight);
        columnSums(floats(dout), start(dout), rows, c, dbias);
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, Tensor out, Tensor stats, int rows, int c) {
        float[] xs = floats(x);
        float[] weights = floats(weight);
        float[] outs = floats(out);
        for (int r = 0; r < rows; r++) {
            int xo = start(x) + r * c;
            int oo = start(out) + r * c;
            int wo = start(weight);
            float scale = (float) (1 / Math.sqrt(VectorMath.dot(xs, xo, xs, xo, c) / c + NORM_EPS));
            floats(stats)[start(stats) + r] = scale;
            for (int j = 0; j < c; j++) {
                outs[oo + j] = xs[xo + j] * scale * weights[wo + j];
            }
        }
    }

    @Override
    public void rmsNormGrad(
            Tensor x, Tensor weight, Tensor stats, Tensor dout, Tensor dx, Tensor dweight, int rows, int c) {
        Scratch scratch = Scratch.get();
        float[] normed = scratch.floats(0, rows * c); // x * scale, then its product with dout
        float[] scaled = scratch.floats(1, c); // dout * weight
        float[] xs = floats(x);
        float[] douts = floats(dout);
        float[] dxs = floats(dx);
        float[] weights = floats(weight);
        int wo = start(weight);
        for (int r = 0; r < rows; r++) {
            int o = r * c;
            int xo = start(x) + o;
            int go = start(dout) + o;
            int dxo = start(dx) + o;
            float scale = floats(stats)[start(stats) + r];
            for (int j = 0; j < c; j++) {
                normed[o + j] = xs[xo + j] * scale;
            }
            for (int j = 0; j < c; j++) {
                scaled[j] = douts[go + j] * weights[wo + j];
            }
            float b = VectorMath.dot(scaled, 0, normed, o, c) / c;
            for (int j = 0; j < c; j++) {
                dxs[dxo + j] += scale * (scaled[j] - normed[o + j] * b);
            }
            for (int j = 0; j < c; j++) {
                normed[o + j] *= douts[go + j];
            }
        }
        columnSums(normed, 0, rows, c, dweight);
    }

    @Override
    public void quantizeWeights(Tensor w, Quantization quantization, Tensor strength, Tensor q, int matrices, int n) {
        Scratch scratch = Scratch.get();
        float[] ws = Flat.in(w, matrices * n, scratch, 0);
        float[] qs = Flat.out(q, matrices * n, scratch, 1);
        for (int from = 0; from < matrices * n; from += n) {
            float mean = (float) (VectorMath.sumInDouble(ws, from, n) / n);
            float size = (float) (VectorMath.sumMagnitudesInDouble(ws, from, n) / n);
            if (quantization == Quantization.BITNET) {
                for (int i = from; i < from + n; i++) {
                    // -1, 0 or 1, then 1 for 0: vectorised, which a comparison is not; NaN stays
                    float sign = Math.max(-1f, Math.min(1f, (ws[i] - mean) * HUGE * HUGE));
                    qs[i] = (sign + 1 - sign * sign) * size;
                }
            } else {
                float scale = 1 / Math.max(size, SMALLEST_SCALE);
                float one = 1 / scale;
                for (int i = from; i < from + n; i++) {
                    float rounded = ws[i] * scale + ROUNDING - ROUNDING;
                    qs[i] = Math.max(-1f, Math.min(1f, rounded)) * one;
                }
            }
        }
        blend(strength, ws, qs, matrices * n);
        Flat.store(qs, q, matrices * n);
    }

    /** rounded = exact + strength * (rounded - exact), where the strength is below 1. */
    private static void blend(Tensor strength, float[] exact, float[] rounded, int n) {
        float s = strength == null ? 1 : floats(strength)[start(strength)];
        if (s < 1) {
            for (int i = 0; i < n; i++) {
                rounded[i] = exact[i] + s * (rounded[i] - exact[i]);
            }
        }
    }

    @Override
    public void quantizeRows(Tensor x, Tensor strength, Tensor q, int rows, int c) {
        Scratch scratch = Scratch.get();
        float[] xs = Flat.in(x, rows * c, scratch, 0);
        float[] qs = Flat.out(q, rows * c, scratch, 1);
        float[] magnitudes = scratch.floats(2, c);
        for (int r = 0; r < rows; r++) {
            int o = r * c;
            for (int j = 0; j < c; j++) {
                magnitudes[j] = Math.abs(xs[o + j]);
            }
            float scale = 127 / Math.max(VectorMath.max(magnitudes, 0, c), SMALLEST_SCALE);
            for (int j = o; j < o + c; j++) {
                qs[j] = (xs[j] * scale + ROUNDING - ROUNDING) / scale;
            }
        }
        blend(strength, xs, qs, rows * c);
        Flat.store(qs, q, rows * c);
    }

    @Override
    public void quantizeInt8(Tensor x, Int8Rows q, int rows, int c) {
        kernels.packed().quantizeInt8(x, q, rows, c);
    }

    @Override
    public void packedLinear(Int8Rows x, PackedWeights w, Tensor bias, boolean relu, Tensor y, int rows) {
        PackedKernels packed = kernels.packed();
        int tiles = PackedMatrix.tiles(w.out());
        boolean large = (long) rows * w.out() * w.in() >= LARGE_PRODUCT;
        int parts = large ? Math.min(workers.count(), tiles) : 1;
        workers.run(parts, part -> {
            int from = tiles * part / parts;
            int to = tiles * (part + 1) / parts;
            packed.packedLinear(x, w, bias, relu, y, rows, from, to);
        });
    }

    @Override
    public void softmax(Tensor x, Tensor y, boolean causal, int rows, int c) {
        float[] xs = floats(x);
        float[] ys = floats(y);
        Scratch scratch = Scratch.get();
        float[] p = scratch.floats(0, c);
        float[] bits = scratch.floats(1, c);
        for (int r = 0; r < rows; r++) {
            int xo = start(x) + r * c;
            int yo = start(y) + r * c;
            int length = causal ? r % c + 1 : c;
            float max = VectorMath.max(xs, xo, length);
            for (int j = 0; j < length; j++) {
                p[j] = xs[xo + j] - max;
            }
            VectorMath.exp(p, 0, length, bits);
            float inverse = 1 / VectorMath.sum(p, 0, length);
            for (int j = 0; j < length; j++) {
                ys[yo + j] = p[j] * inverse;
            }
            Arrays.fill(ys, yo + length, yo + c, 0f);
        }
    }

    @Override
    public void softmaxGrad(Tensor y, Tensor dy, Tensor dx, boolean causal, int rows, int c) {
        float[] ys = floats(y);
        float[] dys = floats(dy);
        float[] dxs = floats(dx);
        for (int r = 0; r < rows; r++) {
            int yo = start(y) + r * c;
            int go = start(dy) + r * c;
            int o = start(dx) + r * c;
            int length = causal ? r % c + 1 : c;
            float sum = VectorMath.dot(ys, yo, dys, go, length);
            for (int j = 0; j < length; j++) {
                dxs[o + j] = ys[yo + j] * (dys[go + j] - sum);
            }
            Arrays.fill(dxs, o + length, o + c, 0f);
        }
    }

    @Override
    public void residual(
            Tensor x, Tensor branch, Tensor bias, Dropout dropout, long firstRow, Tensor sum, int rows, int c) {
        int n = rows * c;
        Scratch scratch = Scratch.get();
        float[] xs = Flat.in(x, n, scratch, 0);
        float[] branches = Flat.in(branch, n, scratch, 1);
        float[] sums = Flat.out(sum, n, scratch, 2);
        if (bias != null) {
            float[] biased = scratch.floats(3, n);
            Flat.fillRows(floats(bias), start(bias), biased, 0, rows, c);
            for (int i = 0; i < n; i++) {
                biased[i] += branches[i];
            }
            branches = biased;
        }
        if (dropout == null) {
            VectorMath.add(xs, branches, sums, n);
        } else {
            float[] mask = scratch.masks().get(dropout, firstRow * c, n);
            for (int i = 0; i < n; i++) {
                sums[i] = xs[i] + mask[i] * branches[i];
            }
        }
        Flat.store(sums, sum, n);
    }

    @Override
    public void residualGrad(
            Tensor dsum, Dropout dropout, long firstRow, Tensor dbranch, Tensor dbias, int rows, int c) {
        int n = rows * c;
        if (dropout == null) {
            System.arraycopy(floats(dsum), start(dsum), floats(dbranch), start(dbranch), n);
        } else {
            Scratch scratch = Scratch.get();
            float[] dsums = Flat.in(dsum, n, scratch, 0);
            float[] dbranches = Flat.out(dbranch, n, scratch, 1);
            float[] mask = scratch.masks().get(dropout, firstRow * c, n);
            for (int i = 0; i < n; i++) {
                dbranches[i] = mask[i] * dsums[i];
            }
            Flat.store(dbranches, dbranch, n);
        }
        if (dbias != null) {
            columnSums(floats(dbranch), start(dbranch), rows, c, dbias);
        }
    }

    @Override
    public void attention(
            Tensor qkv,
            Tensor out,
            Tensor stats,
            Dropout dropout,
            long firstSequence,
            int batch,
            int t,
            int heads,
            int headSize) {
        attention.forward(
                floats(qkv),
                start(qkv),
                floats(out),
                start(out),
                floats(stats),
                start(stats),
                dropout,
                firstSequence,
                batch,
                t,
                heads,
                headSize);
    }

    @Override
    public void attentionGrad(
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
            int headSize) {
        attention.backward(
                floats(qkv),
                start(qkv),
                floats(out),
                start(out),
                floats(stats),
                start(stats),
                floats(dout),
                start(dout),
                floats(dqkv),
                start(dqkv),
                dropout,
                firstSequence,
                batch,
                t,
                heads,
                headSize);
    }

    @Override
    public void attentionCached(
            Tensor qkv,
            Tensor cache,
            Tensor position,
            Tensor out,
            int batch,
            int t,
            int context,
            int heads,
            int headSize) {
        attention.cached(
                floats(qkv),
                start(qkv),
                floats(cache),
                start(cache),
                floats(out),
                start(out),
                batch,
                t,
                ints(position)[start(position)],
                context,
                heads,
                headSize);
    }

    @Override
    public void crossEntropy(
            Tensor logits, Tensor targets, Tensor loss, Tensor dlogits, float gradScale, int rows, int v) {
        float[] xs = floats(logits);
        int[] ids = ints(targets);
        Scratch scratch = Scratch.get();
        int chunkRows = Math.max(1, CROSS_ENTROPY_CHUNK / v);
        float[] p = scratch.floats(0, chunkRows * v);
        float[] bits = scratch.floats(1, chunkRows * v);
        double total = 0;
        for (int r0 = 0; r0 < rows; r0 += chunkRows) {
            int m = Math.min(chunkRows, rows - r0);
            for (int r = 0; r < m; r++) {
                int xo = start(logits) + (r0 + r) * v;
                float max = VectorMath.max(xs, xo, v);
                for (int j = 0; j < v; j++) {
                    p[r * v + j] = xs[xo + j] - max;
                }
                total -= p[r * v + ids[start(targets) + r0 + r]];
            }
            VectorMath.exp(p, 0, m * v, bits);
            for (int r = 0; r < m; r++) {
                float denominator = VectorMath.sum(p, r * v, v);
                total += Math.log(denominator);
                if (dlogits != null) {
                    float[] ds = floats(dlogits);
                    int o = start(dlogits) + (r0 + r) * v;
                    float factor = gradScale / denominator;
                    for (int j = 0; j < v; j++) {
                        ds[o + j] = p[r * v + j] * factor;
                    }
                    ds[o + ids[start(targets) + r0 + r]] -= gradScale;
                }
            }
        }
        floats(loss)[start(loss)] = (float) total;
    }

    @Override
    public void zero(Tensor x, int n) {
        Arrays.fill(floats(x), start(x), start(x) + n, 0f);
    }

    @Override
    public void copy(Tensor source, Tensor target, int n) {
        System.arraycopy(floats(source), start(source), floats(target), start(target), n);
    }

    @Override
    public void increment(Tensor counter) {
        ints(counter)[start(counter)]++;
    }

    // ---------------------------------------------------------------------------------------------- training

    @Override
    public void gatherBatch(
            Tensor corpus, RandomStream stream, long firstSequence, Tensor x, Tensor y, int batch, int t) {
        char[] tokens = HeapStorage.chars(corpus);
        int[] xs = ints(x);
        int[] ys = ints(y);
        int places = (int) corpus.size() - t;
        int step = ints(stream.step())[start(stream.step())];
        Scratch scratch = Scratch.get();
        int[] words = scratch.ints(0, 4);
        for (int b = 0; b < batch; b++) {
            long index = firstSequence + b;
            Philox.fill(stream.seed(), stream.purpose(), step, index >>> 2, 1, scratch.lanes(), words);
            int from = start(corpus) + Philox.below(words[(int) (index & 3)], places);
            for (int i = 0; i < t; i++) {
                xs[start(x) + b * t + i] = tokens[from + i];
                ys[start(y) + b * t + i] = tokens[from + i + 1];
            }
        }
    }

    @Override
    public void sum(Tensor[] parts, int count, boolean add, Tensor sum) {
        int n = (int) sum.size();
        workers.run(chunks(n), chunk -> {
            int from = chunk * CHUNK;
            int length = Math.min(CHUNK, n - from);
            float[] sums = floats(sum);
            int so = start(sum) + from;
            if (!add) {
                System.arraycopy(floats(parts[0]), start(parts[0]) + from, sums, so, length);
            }
            for (int part = add ? 0 : 1; part < count; part++) {
                add(sums, so, floats(parts[part]), start(parts[part]) + from, length);
            }
        });
    }

    private static int chunks(int n) {
        return (n + CHUNK - 1) / CHUNK;
    }

    @Override
    public void norm(Tensor x, Tensor norm) {
        int n = (int) x.size();
        float[] partial = Scratch.get().floats(0, chunks(n));
        workers.run(chunks(n), chunk -> {
            int from = chunk * CHUNK;
            int o = start(x) + from;
            partial[chunk] = VectorMath.dot(floats(x), o, floats(x), o, Math.min(CHUNK, n - from));
        });
        double total = 0;
        for (int chunk = 0; chunk < chunks(n); chunk++) {
            total += partial[chunk];
        }
        floats(norm)[start(norm)] = (float) Math.sqrt(total);
    }

    @Override
    public void adamW(
            Tensor params,
            Tensor grads,
            Tensor firstMoments,
            Tensor secondMoments,
            Tensor learningRate,
            Tensor step,
            Tensor gradNorm,
            AdamWSettings settings) {
        int n = (int) params.size();
        Scratch scratch = Scratch.get();
        float[] p = Flat.in(params, n, scratch, 0);
        float[] g = Flat.in(grads, n, scratch, 1);
        float[] m = Flat.in(firstMoments, n, scratch, 2);
        float[] v = Flat.in(secondMoments, n, scratch, 3);
        float lr = floats(learningRate)[start(learningRate)];
        int t = ints(step)[start(step)];
        float clip = settings.clip();
        // PyTorch's clip_grad_norm_ has the same 1e-6
        float gradScale = clip > 0 ? Math.min(1f, clip / (floats(gradNorm)[start(gradNorm)] + 1e-6f)) : 1f;
        float stepSize = (float) (lr / (1 - Math.pow(settings.beta1(), t)));
        float rootScale = (float) (1 / Math.sqrt(1 - Math.pow(settings.beta2(), t)));
        workers.run(chunks(n), chunk -> {
            int from = chunk * CHUNK;
            adamW(p, g, m, v, from, Math.min(from + CHUNK, n), settings, gradScale, lr, stepSize, rootScale);
        });
        Flat.store(p, params, n);
        Flat.store(m, firstMoments, n);
        Flat.store(v, secondMoments, n);
    }

    private static void adamW(
            float[] p,
            float[] g,
            float[] m,
            float[] v,
            int from,
            int to,
            AdamWSettings settings,
            float gradScale,
            float lr,
            float stepSize,
            float rootScale) {
        float beta1 = settings.beta1();
        float beta2 = settings.beta2();
        float eps = settings.eps();
        float decay = 1 - lr * settings.weightDecay();
        // three short loops, since the compiler vectorises no long one
        for (int i = from; i < to; i++) {
            m[i] = beta1 * m[i] + (1 - beta1) * gradScale * g[i] + TINY - TINY;
        }
        for (int i = from; i < to; i++) {
            float gradient = g[i] * gradScale;
            v[i] = beta2 * v[i] + (1 - beta2) * gradient * gradient + TINY - TINY;
        }
        for (int i = from; i < to; i++) {
            p[i] = p[i] * decay - stepSize * m[i] / ((float) Math.sqrt(v[i]) * rootScale + eps);
        }
    }

    // ---------------------------------------------------------------------------------------------- generation

    @Override
    public void sample(
            Tensor logits,
            Sampling sampling,
            RandomStream stream,
            Tensor firstSequence,
            Tensor tokens,
            int batch,
            int t,
            int v) {
        int step = ints(stream.step())[start(stream.step())];
        long first = firstSequence == null ? 0 : ints(firstSequence)[start(firstSequence)];
        for (int b = 0; b < batch; b++) {
            float u = Philox.uniform(Philox.word(stream.seed(), stream.purpose(), step, first + b));
            int row = start(logits) + (b * t + t - 1) * v;
            ints(tokens)[start(tokens) + b] = sampler.draw(floats(logits), row, v, sampling, u);
        }
    }

    @Override
    public void append(Tensor tokens, Tensor next, int batch, int t) {
        int[] windows = ints(tokens);
        for (int b = 0; b < batch; b++) {
            int o = start(tokens) + b * t;
            System.arraycopy(windows, o + 1, windows, o, t - 1);
            windows[o + t - 1] = ints(next)[start(next) + b];
        }
    }

    @Override
    public void close() {
        workers.close();
    }
}
