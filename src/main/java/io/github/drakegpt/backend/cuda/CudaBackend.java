package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.DeviceClock;
import io.github.drakegpt.backend.LibraryOperations;
import io.github.drakegpt.backend.MatrixProduct;
import io.github.drakegpt.backend.PackedMatrixProduct;
import io.github.drakegpt.backend.Precision;
import io.github.drakegpt.backend.cuda.Kernels.Grid;
import io.github.drakegpt.ops.AdamWSettings;
import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.PackedLinearOp;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.IntConsumer;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Runs on an NVIDIA GPU: cuBLAS for the matrix products, the kernels of {@code kernels/} for the rest. Operations return
 * before they are done; reading a tensor waits for what was started before. Every sum has a fixed order, so the same calls
 * give the same bits.
 */
public final class CudaBackend implements Backend {
    private static final Logger log = LoggerFactory.getLogger(CudaBackend.class);
    private static final int WARP = 32;
    private static final int ROW_THREADS = 256;
    /** The longest row that a warp normalizes alone. */
    private static final int WARP_NORM = 512;
    /** The longest row that a warp works on alone otherwise. */
    private static final int WARP_ROW = 1024;
    /** The longest row that a block normalizes in registers. */
    private static final int BLOCK_NORM = 2048;
    /** The longest row that a block normalizes in shared memory; a gradient then takes 64 KB, which every GPU has. */
    private static final int LONGEST_NORM = 8192;
    /** float32 of 16 bytes. */
    private static final int PACK = 4;

    /** Rows of a product from which on its columns are padded: with fewer it is over sooner than the launches that pad them. */
    private static final int LEAST_PADDED = 1024;

    /** Blocks that share sums over many rows or elements; their parts are then added up. */
    private static final int MOST_PARTS = 128;

    /** The least rows of a part of a gradient of the token table: a block looks at all of them, and adds up some. */
    private static final int EMBEDDING_ROWS = 512;

    /** Head sizes that there are attention kernels for; smaller heads take the next larger. */
    static final int[] HEAD_SIZES = {8, 16, 32, 64, 128};

    private static final int ROWS_PER_WARP = 4; // with the warps of a block, as in attention.cu

    /** Repetitions of work from which on what a graph costs to launch is small beside even the smallest work. */
    private static final int MOST_TOGETHER = 50;
    /** Work that takes a few milliseconds, on slow GPUs a few tens: to launch it costs nothing beside that. */
    private static final double MOST_FLOPS_TOGETHER = 2e10;

    /** The property that tests set to true, so that none passes with work that was launched piece by piece. */
    static final String STRICT = "drakegpt.recording.strict";

    private static final Pointer NULL = new CUdeviceptr();

    private final CudaContext context;
    private final Precision precision;
    private final boolean fuse;
    private final String description;
    private final Staging staging;
    private final Kernels kernels;
    private final Gemm gemm;
    private final SideStream beside;
    private final Bf16Attention bf16Attention;
    private final Scratch scratch;
    private final SequenceCompiler sequences;
    private final Scratch padding; // beside scratch, which a part of a padded product may use
    private boolean allRecorded = true;

    CudaBackend(CudaContext context, Kernels kernels, BackendOptions options) {
        this.context = context;
        this.precision = options.precision();
        this.fuse = options.fuse();
        this.kernels = kernels;
        this.scratch = new Scratch(context);
        this.padding = new Scratch(context);
        this.bf16Attention = new Bf16Attention(kernels, scratch::of);
        Staging made = null;
        Gemm products = null;
        try {
            made = new Staging(context);
            products = new Gemm(context, context.stream(), precision == Precision.TF32);
            this.gemm = products;
            this.beside = new SideStream(context, precision);
        } catch (RuntimeException e) {
            Staging one = made;
            Gemm other = products;
            try (context;
                    one;
                    other) { // what is null is passed over
                throw e;
            }
        }
        this.staging = made;
        this.sequences = new SequenceCompiler(context, kernels, staging, scratch);
        this.description =
                context.deviceName() + ", compute capability " + context.capability() + ", cuBLAS " + gemm.version();
    }

    /**
     * Works in a context and on a stream that the calling program made: what it starts there and what is started here run
     * in the order of the calls. Closing the backend leaves both as they are. The context becomes, and stays, that of each
     * thread that calls. While recorded work runs for the second time it is captured: in that moment the program must not
     * wait for the whole context or device (cuCtxSynchronize, cudaDeviceSynchronize), nor use the default stream if the given one
     * waits for it (made without CU_STREAM_NON_BLOCKING). Otherwise the capture is lost; the work is then launched piece by
     * piece, which is slower. JCuda's exceptions have to be off, as they are unless a program turns them on.
     *
     * @param stream of that context, not the default one
     * @param options of which a GPU does not look at the threads
     * @throws IllegalArgumentException if the stream is a default stream, or of another context
     * @throws CudaUnavailableException if cuBLAS cannot be found
     */
    public static CudaBackend on(CUcontext context, CUstream stream, BackendOptions options) {
        CudaLibraries libraries = CudaLibraries.load(CudaLibraries.Driver.NVIDIA);
        libraries.obstacle().ifPresent(obstacle -> {
            throw new CudaUnavailableException(obstacle);
        });
        return open(CudaContext.of(context, stream), options);
    }

    /**
     * A backend with a context and a stream of its own.
     *
     * @param libraries says that they are loaded
     */
    static CudaBackend open(CudaLibraries libraries, int device, BackendOptions options) {
        return open(CudaContext.open(device), options);
    }

    /** A backend on a context that is there. */
    static CudaBackend open(CudaContext context, BackendOptions options) {
        Kernels kernels = new Kernels(context, Kernels::compiled);
        return new CudaBackend(context, kernels, options);
    }

    @Override
    public String name() {
        return "cuda";
    }

    @Override
    public String description() {
        return description;
    }

    @Override
    public Precision precision() {
        return precision;
    }

    @Override
    public Arena newArena() {
        return new DeviceArena(context, staging);
    }

    /** The matrix products, for tests of those that no operation uses. */
    Gemm gemm() {
        return gemm;
    }

    CudaContext context() {
        return context;
    }

    Kernels kernels() {
        return kernels;
    }

    Staging staging() {
        return staging;
    }

    /** A whole batch at once fills the GPU best. */
    @Override
    public int shards(int batch, int length) {
        return 1;
    }

    @Override
    public int workers() {
        return 1;
    }

    @Override
    public void parallel(int tasks, IntConsumer task) {
        for (int i = 0; i < tasks; i++) {
            task.accept(i);
        }
    }

    @Override
    public Runnable record(Arena arena, Runnable work) {
        Recording recording = new Recording(context, work, this::notRecorded);
        arena.onClose(recording::close);
        return recording;
    }

    /** With {@code CUDA_LAUNCH_BLOCKING=1} each operation has its own launches, so that an error names its own kernel. */
    @Override
    public Runnable region(Arena arena, Consumer<Operations> work) {
        if (!fuse || context.blocking()) {
            return Backend.super.region(arena, work);
        }
        SequenceRegion region = new SequenceRegion(this, sequences, work);
        arena.onClose(region::close);
        return region;
    }

    /** Says once for all work that some cannot be recorded; throws the reason where tests insist. */
    private void notRecorded(CudaException reason) {
        if (Boolean.getBoolean(STRICT)) {
            throw reason;
        }
        if (allRecorded) {
            log.warn("The GPU cannot record work ({}); it is launched piece by piece, which is slower", reason.error());
            allRecorded = false;
        }
        log.debug("What could not be recorded", reason);
    }

    @Override
    public boolean isSynchronous() {
        return false;
    }

    @Override
    public int repetitionsPerLaunch(int times, double flops) {
        int most = (int) Math.max(1, Math.min(MOST_TOGETHER, MOST_FLOPS_TOGETHER / flops));
        return times / Grid.blocks(times, most); // equal parts, so that few are left over
    }

    @Override
    public DeviceClock newClock(Arena arena, int marks) {
        EventClock clock = new EventClock(context, marks);
        arena.onClose(clock::close);
        return clock;
    }

    @Override
    public List<MatrixProduct> products() {
        List<MatrixProduct> products = new ArrayList<>();
        for (CudaProduct.Kind kind : CudaProduct.Kind.values()) {
            products.add(new CudaProduct(this, gemm, kind));
        }
        products.add(new PackedMatrixProduct(this, Quantization.B158));
        products.add(new PackedMatrixProduct(this, Quantization.BITNET));
        for (PackedPath path : PackedPath.values()) {
            products.add(new PackedMatrixProduct(
                    Quantization.B158.label() + " " + path.title(),
                    Quantization.B158,
                    this,
                    path.leastRows(),
                    path.mostRows(),
                    (x, w, y, rows) -> packedLinear(path, x, w, null, false, y, rows)));
        }
        return products;
    }

    @Override
    public Optional<LibraryOperations> libraryOperations(Arena arena) {
        if (!CudaLibraries.cudnnUsable()) {
            return Optional.empty();
        }
        try {
            return Optional.of(new Cudnn(context, arena));
        } catch (CudaException e) { // nothing but measurements needs it
            log.warn("Nothing is measured against cuDNN: {}", e.getMessage());
            return Optional.empty();
        }
    }

    @Override
    public long takePeakBytes() {
        return context.memoryCount().takePeak();
    }

    // ---------------------------------------------------------------------------------------------- arguments

    private static CUdeviceptr f32(Tensor tensor, long elements) {
        return DeviceStorage.pointer(tensor, DType.F32, elements);
    }

    private static Pointer f32OrNull(Tensor tensor, long elements) {
        return tensor == null ? NULL : f32(tensor, elements);
    }

    /** A tensor of a type, or nothing. */
    private static Pointer orNull(FloatType type, Tensor tensor, long elements) {
        return tensor == null ? NULL : type.pointer(tensor, elements);
    }

    private static CUdeviceptr i32(Tensor tensor, long elements) {
        return DeviceStorage.pointer(tensor, DType.I32, elements);
    }

    /** Values, scales, sums and stride, as the kernels take them. */
    private static Object[] int8(Int8Rows q, int rows, int c) {
        if (q.stride() < c || q.stride() % PACK != 0) {
            throw new IllegalArgumentException("Rows of " + q.stride() + " elements were given for " + c
                    + " columns; take as many as PackedMatrix.paddedColumns says.");
        }
        return new Object[] {
            DeviceStorage.aligned(q.values(), DType.I8, (long) rows * q.stride()),
            f32(q.scales(), rows),
            i32(q.sums(), rows),
            q.stride()
        };
    }

    /** Seed, purpose and step, as the kernels take them. */
    private static Object[] stream(RandomStream stream) {
        return new Object[] {stream.seed(), stream.purpose(), i32(stream.step(), 1)};
    }

    /** Seed, purpose, step, threshold and scale; a threshold of 0 says that nothing is dropped. */
    static Object[] dropout(Dropout dropout) {
        return dropout == null
                ? new Object[] {0L, 0, NULL, 0, 1f}
                : new Object[] {stream(dropout.stream()), dropout.threshold(), dropout.scale()};
    }

    Scratch scratch() {
        return scratch;
    }

    /** Launches the kernel for rows of c elements: with a warp for each row, or a block for long ones. */
    private void launchRows(String file, String kernel, FloatType type, int rows, int c, Object... arguments) {
        boolean warps = c <= WARP_ROW;
        String name = kernel + (warps ? "_warp" : "_block") + type.suffix();
        kernels.launch(file, name, rowGrid(warps, rows, rows), arguments);
    }

    /**
     * The same for a norm, which keeps its row in registers, or in shared memory where it is long.
     *
     * @param mostBlocks each of which then takes several rows one after another
     * @param kept float32 that are kept of each column
     */
    private void launchNorm(
            String file,
            String kernel,
            FloatType type,
            int rows,
            int c,
            int mostBlocks,
            int kept,
            Object... arguments) {
        if (c > LONGEST_NORM) {
            throw new IllegalArgumentException(
                    "Rows of " + c + " elements cannot be normalized on the GPU; the most are " + LONGEST_NORM + ".");
        }
        boolean isLong = c > BLOCK_NORM;
        boolean warps = c <= WARP_NORM;
        String name = kernel + (isLong ? "_long" : warps ? "_warp" : "_block") + type.suffix();
        Grid grid = rowGrid(warps, rows, mostBlocks);
        if (isLong) {
            int columns = Grid.blocks(c, type.pack()) * type.pack();
            grid = new Grid(grid.blocksX(), 1, ROW_THREADS, 1, kept * columns * Float.BYTES);
        }
        kernels.launch(file, name, grid, arguments);
    }

    private static Grid rowGrid(boolean warps, int rows, int mostBlocks) {
        return warps
                ? new Grid(Math.min(mostBlocks, Grid.blocks(rows, ROW_THREADS / WARP)), 1, WARP, ROW_THREADS / WARP)
                : new Grid(Math.min(mostBlocks, rows), 1, ROW_THREADS, 1);
    }

    /** Blocks that {@link #launchNorm} takes for rows with at most {@link #MOST_PARTS} of them. */
    private static int normParts(int rows, int c) {
        return rowGrid(c <= WARP_NORM, rows, MOST_PARTS).blocksX();
    }

    // ---------------------------------------------------------------------------------------------- layers

    @Override
    public void linear(Tensor x, Tensor w, Tensor bias, boolean relu, Tensor y, int rows, int in, int out) {
        FloatType factors = FloatType.of(x);
        FloatType products = FloatType.of(y);
        CUdeviceptr xs = factors.pointer(x, (long) rows * in);
        CUdeviceptr ws = factors.pointer(w, (long) out * in);
        CUdeviceptr ys = products.pointer(y, (long) rows * out);
        int columns = columns(factors, rows, in, out);
        if (columns > out && products == FloatType.F32 && !relu) {
            paddedLinear(xs, ws, f32OrNull(bias, out), ys, rows, in, out, columns);
            return;
        }
        gemm.multiply(factors, products, xs, false, ws, true, ys, rows, out, in);
        if (bias != null || relu) {
            Grid grid = Grid.of((long) rows * out, products.pack());
            String kernel = "bias_relu" + products.suffix();
            kernels.launch("relu", kernel, grid, ys, f32OrNull(bias, out), relu ? 1 : 0, rows, out);
        }
    }

    /**
     * How many columns to multiply {@code out} with: in bfloat16 cuBLAS has its fast kernels for rows of a multiple of 16 bytes
     * only, which those of logits are not.
     */
    private static int columns(FloatType factors, int rows, int in, int out) {
        int pack = factors.pack();
        boolean pays = factors == FloatType.BF16 && rows >= LEAST_PADDED && in % pack == 0;
        return pays ? Grid.blocks(out, pack) * pack : out;
    }

    /** {@link #linear} from BF16 to F32 with zeros behind w, and columns behind those of y that are left out. */
    private void paddedLinear(
            CUdeviceptr x, CUdeviceptr w, Pointer bias, CUdeviceptr y, int rows, int in, int out, int columns) {
        long bytes = (long) columns * in * DType.BF16.bytes();
        CUdeviceptr weights = padding.of(bytes + (long) rows * columns * DType.F32.bytes());
        CUdeviceptr products = weights.withByteOffset(bytes);
        pad(w, weights, 1, out * in, columns * in);
        gemm.multiply(FloatType.BF16, FloatType.F32, x, false, weights, true, products, rows, columns, in);
        Grid grid = Grid.of((long) rows * out, 1);
        kernels.launch("pad", "add_bias_unpad_f32", grid, products, bias, y, rows, out, columns);
    }

    /** to (rows, stride) = from (rows, c) with zeros behind each row. */
    private void pad(CUdeviceptr from, CUdeviceptr to, int rows, int c, int stride) {
        kernels.launch(
                "pad", "pad_bf16", Grid.of((long) rows * stride, FloatType.BF16.pack()), from, to, rows, c, stride);
    }

    @Override
    public void linearGrad(
            Tensor x, Tensor w, Tensor dy, Tensor dx, Tensor dw, Tensor dbias, int rows, int in, int out) {
        FloatType type = FloatType.of(dy);
        CUdeviceptr xs = type.pointer(x, (long) rows * in);
        GradFactors factors = gradFactors(type, w, dy, dw, dx != null, rows, in, out);
        Consumer<Gemm> weightGrad = products -> {
            products.multiply(type, FloatType.F32, factors.dy, true, xs, false, factors.dw, factors.columns, in, rows);
            if (factors.columns > out) {
                context.copy(f32(dw, (long) out * in), factors.dw, (long) out * in * DType.F32.bytes());
            }
            if (dbias != null) {
                columnSums(type, factors.dy, f32(dbias, out), rows, out, factors.columns);
            }
        };
        if (dx == null) {
            weightGrad.accept(gemm);
            return;
        }
        CUdeviceptr dxs = type.pointer(dx, (long) rows * in);
        Runnable inputGrad =
                () -> gemm.multiply(type, type, factors.dy, false, factors.w, false, dxs, rows, in, factors.columns);
        if (fuse && context.capturing()) {
            beside.record(weightGrad, inputGrad);
        } else {
            weightGrad.accept(gemm);
            inputGrad.run();
        }
    }

    /**
     * What gradients of a linear layer are made of: dw (columns, in) = dy^T x, dx = dy w.
     *
     * @param columns of dy (rows, columns), and rows of w (columns, in): those beyond the layer's are zero
     */
    private record GradFactors(int columns, CUdeviceptr dy, CUdeviceptr w, CUdeviceptr dw) {}

    private GradFactors gradFactors(
            FloatType type, Tensor w, Tensor dy, Tensor dw, boolean ofInput, int rows, int in, int out) {
        CUdeviceptr dys = type.pointer(dy, (long) rows * out);
        CUdeviceptr ws = type.pointer(w, (long) out * in);
        int columns = columns(type, rows, in, out);
        if (columns == out) {
            return new GradFactors(out, dys, ws, f32(dw, (long) out * in));
        }
        long rowBytes = (long) rows * columns * DType.BF16.bytes();
        long weightBytes = (long) columns * in * DType.BF16.bytes();
        CUdeviceptr paddedDy = padding.of(rowBytes + weightBytes + (long) columns * in * DType.F32.bytes());
        CUdeviceptr paddedW = paddedDy.withByteOffset(rowBytes);
        pad(dys, paddedDy, rows, out, columns);
        if (ofInput) {
            pad(ws, paddedW, 1, out * in, columns * in);
        }
        return new GradFactors(columns, paddedDy, paddedW, paddedW.withByteOffset(weightBytes));
    }

    /**
     * sums (c) = the sum of the rows of x, {@code stride} elements apart: of parts of the rows first, where there are many.
     * Uses no scratch for up to {@link #MOST_PARTS} rows.
     */
    private void columnSums(FloatType type, Pointer x, Pointer sums, int rows, int c, int stride) {
        addRows(
                type,
                sums,
                rows,
                c,
                (grid, first, each) ->
                        kernels.launch("sum", "column_sums" + type.suffix(), grid, x, first, rows, c, stride, each));
    }

    /** A kernel that sums {@code each} rows into a row of {@code sums}, for as many of them as its grid has blocks along y. */
    private interface RowAdder {
        void launch(Grid grid, Pointer sums, int each);
    }

    /** sums (c) = the sum of the rows that a kernel goes through; where sums is {@link #NULL}, it just goes through them. */
    private void addRows(FloatType type, Pointer sums, int rows, int c, RowAdder kernel) {
        int parts = Math.min(MOST_PARTS, Grid.blocks(rows, MOST_PARTS));
        boolean direct = parts == 1 || sums == NULL;
        Pointer first = direct ? sums : scratch.of((long) parts * c * Float.BYTES);
        kernel.launch(new Grid(Grid.blocks(c, WARP * type.pack()), parts, WARP, 8), first, Grid.blocks(rows, parts));
        if (!direct) {
            columnSums(FloatType.F32, first, sums, parts, c, c);
        }
    }

    @Override
    public void reluGrad(Tensor y, Tensor dy, Tensor dbias, int rows, int c) {
        FloatType type = FloatType.of(y);
        long n = (long) rows * c;
        CUdeviceptr ys = type.pointer(y, n);
        CUdeviceptr dys = type.pointer(dy, n);
        Pointer sums = f32OrNull(dbias, c);
        addRows(
                type,
                sums,
                rows,
                c,
                (grid, first, each) ->
                        kernels.launch("relu", "relu_grad" + type.suffix(), grid, ys, dys, first, rows, c, each));
    }

    @Override
    public void embedding(Tensor tokens, Tensor wte, Tensor wpe, Tensor position, Tensor out, int batch, int t, int c) {
        int rows = batch * t;
        FloatType type = FloatType.of(out);
        kernels.launch(
                "embedding",
                "embedding" + type.suffix(),
                Grid.of((long) rows * Grid.blocks(c, type.pack()), 1),
                i32(tokens, rows),
                f32(wte, c),
                f32OrNull(wpe, (long) t * c),
                position == null ? NULL : i32(position, 1),
                type.pointer(out, (long) rows * c),
                rows,
                t,
                c);
    }

    @Override
    public void embeddingGrad(Tensor tokens, Tensor dout, Tensor dwte, Tensor dwpe, int batch, int t, int c) {
        int rows = batch * t;
        FloatType type = FloatType.of(dout);
        CUdeviceptr douts = type.pointer(dout, (long) rows * c);
        int vocabSize = (int) (dwte.size() / c);
        int table = Math.multiplyExact(vocabSize, c);
        CUdeviceptr dwtes = f32(dwte, table);
        int parts = Math.min(MOST_PARTS, Grid.blocks(rows, EMBEDDING_ROWS));
        CUdeviceptr first = parts == 1 ? dwtes : scratch.of((long) parts * table * Float.BYTES); // (parts, V, C)
        kernels.launch(
                "embedding",
                "token_embedding_grad" + type.suffix(),
                new Grid(Math.multiplyExact(parts, vocabSize), Grid.blocks(c, WARP), WARP, 8),
                i32(tokens, rows),
                douts,
                first,
                rows,
                vocabSize,
                c,
                Grid.blocks(rows, parts));
        if (parts > 1) {
            columnSums(FloatType.F32, first, dwtes, parts, table, table);
        }
        if (dwpe != null) {
            int context = (int) (dwpe.size() / c);
            kernels.launch(
                    "embedding",
                    "position_embedding_grad" + type.suffix(),
                    Grid.of(dwpe.size(), 1),
                    douts,
                    f32(dwpe, (long) t * c),
                    batch,
                    t,
                    c,
                    context);
        }
    }

    @Override
    public void layerNorm(Tensor x, Tensor weight, Tensor bias, Tensor out, Tensor stats, int rows, int c) {
        layerNorm(x, null, null, null, 0, null, weight, bias, out, stats, rows, c);
    }

    @Override
    public void residualNorm(
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
        if (!fuse) {
            Backend.super.residualNorm(
                    x, branch, branchBias, dropout, firstRow, sum, weight, bias, out, stats, rows, c);
            return;
        }
        layerNorm(x, branch, branchBias, dropout, firstRow, sum, weight, bias, out, stats, rows, c);
    }

    private void layerNorm(
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
        long n = (long) rows * c;
        FloatType type = FloatType.of(x);
        launchNorm(
                "layer_norm",
                "layer_norm",
                type,
                rows,
                c,
                rows,
                1,
                type.pointer(x, n),
                orNull(type, branch, n),
                f32OrNull(branchBias, c),
                orNull(type, sum, n),
                f32(weight, c),
                f32(bias, c),
                type.pointer(out, n),
                f32(stats, 2L * rows),
                rows,
                c,
                firstRow,
                dropout(dropout));
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
        layerNormGrad(x, weight, stats, dout, dx, dweight, dbias, null, 0, null, null, rows, c);
    }

    @Override
    public void residualNormGrad(
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
        if (!fuse) {
            Backend.super.residualNormGrad(
                    sum, weight, stats, dout, dsum, dweight, dbias, dropout, firstRow, dbranch, dbranchBias, rows, c);
            return;
        }
        layerNormGrad(sum, weight, stats, dout, dsum, dweight, dbias, dropout, firstRow, dbranch, dbranchBias, rows, c);
    }

    private void layerNormGrad(
            Tensor x,
            Tensor weight,
            Tensor stats,
            Tensor dout,
            Tensor dx,
            Tensor dweight,
            Tensor dbias,
            Dropout dropout,
            long firstRow,
            Tensor dbranch,
            Tensor dbranchBias,
            int rows,
            int c) {
        long n = (long) rows * c;
        FloatType type = FloatType.of(x);
        int parts = normParts(rows, c);
        int sums = dbranch == null ? 2 : 3;
        CUdeviceptr partials = scratch.of((long) sums * parts * c * Float.BYTES); // (parts, sums, c)
        launchNorm(
                "layer_norm",
                "layer_norm_grad",
                type,
                rows,
                c,
                parts,
                2,
                type.pointer(x, n),
                f32(weight, c),
                f32(stats, 2L * rows),
                type.pointer(dout, n),
                type.pointer(dx, n),
                orNull(type, dbranch, n),
                partials,
                rows,
                c,
                firstRow,
                dropout(dropout));
        Tensor[] targets = {dweight, dbias, dbranchBias};
        for (int i = 0; i < sums; i++) {
            if (targets[i] != null) {
                CUdeviceptr column = partials.withByteOffset((long) i * c * Float.BYTES);
                columnSums(FloatType.F32, column, f32(targets[i], c), parts, c, sums * c);
            }
        }
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, Tensor out, Tensor stats, int rows, int c) {
        long n = (long) rows * c;
        FloatType type = FloatType.of(x);
        launchNorm(
                "rms_norm",
                "rms_norm",
                type,
                rows,
                c,
                rows,
                1,
                type.pointer(x, n),
                f32(weight, c),
                type.pointer(out, n),
                f32(stats, rows),
                rows,
                c);
    }

    @Override
    public void rmsNormGrad(
            Tensor x, Tensor weight, Tensor stats, Tensor dout, Tensor dx, Tensor dweight, int rows, int c) {
        long n = (long) rows * c;
        int parts = normParts(rows, c);
        FloatType type = FloatType.of(x);
        CUdeviceptr partials = scratch.of((long) parts * c * Float.BYTES); // (parts, c)
        launchNorm(
                "rms_norm",
                "rms_norm_grad",
                type,
                rows,
                c,
                parts,
                2,
                type.pointer(x, n),
                f32(weight, c),
                f32(stats, rows),
                type.pointer(dout, n),
                type.pointer(dx, n),
                partials,
                rows,
                c);
        columnSums(FloatType.F32, partials, f32(dweight, c), parts, c, c);
    }

    @Override
    public void quantizeWeights(Tensor w, Quantization quantization, Tensor strength, Tensor q, int matrices, int n) {
        long all = (long) matrices * n;
        int parts = Math.min(MOST_PARTS, Grid.blocks(n, ROW_THREADS * PACK * 8)); // each thread some packs
        CUdeviceptr sums = scratch.of(2L * matrices * parts * Double.BYTES); // (matrices, parts, 2)
        Grid grid = new Grid(parts, matrices, ROW_THREADS, 1);
        kernels.launch("quantize", "weight_sums_f32", grid, f32(w, all), sums, (long) n);
        FloatType type = FloatType.of(q);
        kernels.launch(
                "quantize",
                "quantize_weights" + type.suffix(),
                new Grid(Grid.blocks(n, ROW_THREADS * type.pack()), matrices, ROW_THREADS, 1),
                f32(w, all),
                sums,
                f32OrNull(strength, 1),
                type.pointer(q, all),
                (long) n,
                parts,
                quantization == Quantization.BITNET ? 1 : 0);
    }

    @Override
    public void quantizeRows(Tensor x, Tensor strength, Tensor q, int rows, int c) {
        long n = (long) rows * c;
        FloatType type = FloatType.of(x);
        launchRows(
                "quantize",
                "quantize_rows",
                type,
                rows,
                c,
                type.pointer(x, n),
                f32OrNull(strength, 1),
                type.pointer(q, n),
                rows,
                c);
    }

    @Override
    public void quantizeInt8(Tensor x, Int8Rows q, int rows, int c) {
        launchRows(
                "quantize",
                "quantize_int8",
                FloatType.F32,
                rows,
                c,
                f32(x, (long) rows * c),
                int8(q, rows, c),
                rows,
                c);
    }

    @Override
    public void rmsNormInt8(Tensor x, Tensor weight, Tensor out, Tensor stats, Int8Rows q, int rows, int c) {
        long n = (long) rows * c;
        launchNorm(
                "rms_norm",
                "rms_norm_int8",
                FloatType.F32,
                rows,
                c,
                rows,
                1,
                f32(x, n),
                f32(weight, c),
                int8(q, rows, c),
                rows,
                c);
    }

    @Override
    public void layerNormInt8(
            Tensor x, Tensor weight, Tensor bias, Tensor out, Tensor stats, Int8Rows q, int rows, int c) {
        residualNormInt8(x, null, null, weight, bias, out, stats, q, rows, c);
    }

    @Override
    public void residualNormInt8(
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
        long n = (long) rows * c;
        launchNorm(
                "layer_norm",
                "layer_norm_int8",
                FloatType.F32,
                rows,
                c,
                rows,
                1,
                f32(x, n),
                f32OrNull(branch, n),
                f32OrNull(sum, n),
                f32(weight, c),
                f32(bias, c),
                int8(q, rows, c),
                rows,
                c);
    }

    @Override
    public void packedLinear(Int8Rows x, PackedWeights w, Tensor bias, boolean relu, Tensor y, int rows) {
        packedLinear(PackedPath.of(rows), x, w, bias, relu, y, rows);
    }

    /** The same in a given way, for tests and to compare their times. */
    void packedLinear(PackedPath path, PackedLinearOp op, Pass pass) {
        packedLinear(path, op.x(), op.w(), op.bias(), op.relu(), op.y(), op.rows(pass));
    }

    /** {@link #packedLinear} in a given way. */
    void packedLinear(PackedPath path, Int8Rows x, PackedWeights w, Tensor bias, boolean relu, Tensor y, int rows) {
        int stride = PackedMatrix.paddedColumns(w.quantization(), w.in());
        if (x.stride() != stride) {
            throw new IllegalArgumentException("Rows of " + x.stride() + " elements were given for packed weights of "
                    + w.in() + " columns, which take " + stride + ".");
        }
        int bits = PackedMatrix.bits(w.quantization());
        int units = stride / PackedMatrix.unitColumns(w.quantization());
        int tiles = PackedMatrix.tiles(w.out());
        CUdeviceptr codes =
                DeviceStorage.aligned(w.codes(), DType.I8, PackedMatrix.bytes(w.quantization(), w.out(), w.in()));
        CUdeviceptr values = DeviceStorage.aligned(x.values(), DType.I8, (long) rows * stride);
        Object[] outputs = {
            f32(x.scales(), rows),
            i32(x.sums(), rows),
            f32(w.scales(), w.out()),
            f32OrNull(bias, w.out()),
            f32(y, (long) rows * w.out()),
            rows,
            w.out(),
            relu ? 1 : 0
        };
        if (path == PackedPath.CUBLAS) {
            // unpacked for each product: half as long as multiplying the fewest rows that come here, and a tenth from a
            // thousand on; to keep the matrix would take four or eight times the memory of the codes
            int width = tiles * PackedMatrix.TILE_ROWS;
            int packs = tiles * units * WARP;
            long matrixBytes = (long) width * stride;
            CUdeviceptr matrix = scratch.of(matrixBytes + (long) rows * width * Integer.BYTES); // (width, stride) I8
            CUdeviceptr sums = matrix.withByteOffset(matrixBytes); // (rows, width) I32
            kernels.launch("packed", "unpack_codes", Grid.of(packs, 1), codes, matrix, bits, units, packs);
            gemm.multiplyInt8(values, matrix, sums, rows, width, stride);
            Grid grid = Grid.of((long) rows * w.out(), 1);
            kernels.launch("packed", "scale_products_f32", grid, sums, width, bits, outputs);
            return;
        }
        int splits = path.splits(rows, tiles);
        kernels.launch(
                "packed",
                (bits == 1 ? "packed_linear_1bit_" : "packed_linear_2bit_") + path.rows(),
                new Grid(
                        Grid.blocks(tiles, PackedPath.WARPS / splits),
                        Grid.blocks(rows, path.rows()),
                        WARP,
                        PackedPath.WARPS),
                codes,
                values,
                outputs,
                units,
                splits);
    }

    @Override
    public void softmax(Tensor x, Tensor y, boolean causal, int rows, int c) {
        long n = (long) rows * c;
        FloatType type = FloatType.of(x);
        launchRows(
                "softmax", "softmax", type, rows, c, type.pointer(x, n), type.pointer(y, n), rows, c, causal ? 1 : 0);
    }

    @Override
    public void softmaxGrad(Tensor y, Tensor dy, Tensor dx, boolean causal, int rows, int c) {
        long n = (long) rows * c;
        FloatType type = FloatType.of(y);
        launchRows(
                "softmax",
                "softmax_grad",
                type,
                rows,
                c,
                type.pointer(y, n),
                type.pointer(dy, n),
                type.pointer(dx, n),
                rows,
                c,
                causal ? 1 : 0);
    }

    @Override
    public void residual(
            Tensor x, Tensor branch, Tensor bias, Dropout dropout, long firstRow, Tensor sum, int rows, int c) {
        int n = Math.multiplyExact(rows, c);
        FloatType type = FloatType.of(x);
        kernels.launch(
                "residual",
                "residual" + type.suffix(),
                Grid.of((long) rows * Grid.blocks(c, type.pack()), 1),
                type.pointer(x, n),
                type.pointer(branch, n),
                f32OrNull(bias, c),
                type.pointer(sum, n),
                rows,
                c,
                firstRow,
                dropout(dropout));
    }

    @Override
    public void residualGrad(
            Tensor dsum, Dropout dropout, long firstRow, Tensor dbranch, Tensor dbias, int rows, int c) {
        long n = (long) rows * c;
        FloatType type = FloatType.of(dsum);
        CUdeviceptr dsums = type.pointer(dsum, n);
        CUdeviceptr dbranches = type.pointer(dbranch, n);
        Pointer sums = f32OrNull(dbias, c);
        addRows(
                type,
                sums,
                rows,
                c,
                (grid, first, each) -> kernels.launch(
                        "residual",
                        "residual_grad" + type.suffix(),
                        grid,
                        dsums,
                        dbranches,
                        first,
                        rows,
                        c,
                        each,
                        firstRow,
                        dropout(dropout)));
    }

    // ---------------------------------------------------------------------------------------------- attention

    /** The smallest size for which there are attention kernels and that a head fits into. */
    static int headKernel(int headSize) {
        for (int size : HEAD_SIZES) {
            if (headSize <= size) {
                return size;
            }
        }
        throw new IllegalArgumentException("A head size of " + headSize + " is not possible on the GPU; the largest is "
                + HEAD_SIZES[HEAD_SIZES.length - 1] + ": use more heads.");
    }

    /** Blocks that each have some rows of one head of one sequence. */
    private static Grid attentionGrid(int batch, int t, int heads, int headKernel) {
        int warps = Math.min(headKernel > 64 ? 2 : 4, Grid.blocks(t, ROWS_PER_WARP));
        long tiles = Grid.blocks(t, ROWS_PER_WARP * warps);
        return new Grid(Math.toIntExact(batch * heads * tiles), 1, WARP, warps);
    }

    static float attentionScale(int headSize) {
        return (float) (1 / Math.sqrt(headSize));
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
        if (qkv.dtype() == DType.BF16) {
            bf16Attention.forward(qkv, out, stats, dropout, firstSequence, batch, t, heads, headSize);
            return;
        }
        int kernel = headKernel(headSize);
        int width = heads * headSize;
        long rows = (long) batch * t;
        CUdeviceptr q = f32(qkv, rows * 3 * width);
        kernels.launch(
                "attention",
                "attention_f32_" + kernel,
                attentionGrid(batch, t, heads, kernel),
                q,
                q.withByteOffset((long) width * Float.BYTES),
                q.withByteOffset(2L * width * Float.BYTES),
                f32(out, rows * width),
                f32(stats, 2 * rows * heads),
                NULL,
                t,
                heads,
                headSize,
                3 * width,
                3 * width,
                t,
                attentionScale(headSize),
                firstSequence,
                dropout(dropout));
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
        if (qkv.dtype() == DType.BF16) {
            bf16Attention.grad(qkv, out, stats, dout, dqkv, dropout, firstSequence, batch, t, heads, headSize);
            return;
        }
        int kernel = headKernel(headSize);
        int width = heads * headSize;
        long rows = (long) batch * t;
        CUdeviceptr products = scratch.of(rows * heads * Float.BYTES); // (B, H, T)
        Grid grid = attentionGrid(batch, t, heads, kernel);
        float scale = attentionScale(headSize);
        kernels.launch(
                "attention",
                "attention_grad_q_f32_" + kernel,
                grid,
                f32(qkv, rows * 3 * width),
                f32(out, rows * width),
                f32(stats, 2 * rows * heads),
                f32(dout, rows * width),
                f32(dqkv, rows * 3 * width),
                products,
                t,
                heads,
                headSize,
                scale,
                firstSequence,
                dropout(dropout));
        kernels.launch(
                "attention",
                "attention_grad_kv_f32_" + kernel,
                grid,
                f32(qkv, rows * 3 * width),
                f32(stats, 2 * rows * heads),
                f32(dout, rows * width),
                products,
                f32(dqkv, rows * 3 * width),
                t,
                heads,
                headSize,
                scale,
                firstSequence,
                dropout(dropout));
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
        if (qkv.dtype() == DType.BF16) {
            bf16Attention.cached(qkv, cache, position, out, batch, t, context, heads, headSize);
            return;
        }
        int kernel = headKernel(headSize);
        int width = heads * headSize;
        long rows = (long) batch * t;
        CUdeviceptr q = f32(qkv, rows * 3 * width);
        CUdeviceptr keys = f32(cache, (long) batch * context * 2 * width);
        kernels.launch(
                "attention",
                "append_f32",
                Grid.of(rows * 2 * width, 1),
                q,
                keys,
                i32(position, 1),
                batch,
                t,
                context,
                width);
        kernels.launch(
                "attention",
                "attention_f32_" + kernel,
                attentionGrid(batch, t, heads, kernel),
                q,
                keys,
                keys.withByteOffset((long) width * Float.BYTES),
                f32(out, rows * width),
                NULL,
                i32(position, 1),
                t,
                heads,
                headSize,
                3 * width,
                2 * width,
                context,
                attentionScale(headSize),
                0L,
                dropout(null));
    }

    // ---------------------------------------------------------------------------------------------- loss

    @Override
    public void crossEntropy(
            Tensor logits, Tensor targets, Tensor loss, Tensor dlogits, float gradScale, int rows, int v) {
        long n = (long) rows * v;
        CUdeviceptr losses = scratch.of((long) rows * Float.BYTES);
        FloatType type = dlogits == null ? FloatType.F32 : FloatType.of(dlogits);
        launchRows(
                "cross_entropy",
                "cross_entropy",
                type,
                rows,
                v,
                f32(logits, n),
                i32(targets, rows),
                losses,
                orNull(type, dlogits, n),
                gradScale,
                rows,
                v);
        kernels.launch("cross_entropy", "total_f32", new Grid(1, 1, ROW_THREADS, 1), losses, f32(loss, 1), rows);
    }

    @Override
    public void zero(Tensor x, int n) {
        context.zero(FloatType.of(x).pointer(x, n), (long) n * x.dtype().bytes());
    }

    @Override
    public void copy(Tensor source, Tensor target, int n) {
        DType from = source.dtype();
        DType to = target.dtype();
        CUdeviceptr sources = DeviceStorage.pointer(source, from, n);
        CUdeviceptr targets = DeviceStorage.pointer(target, to, n);
        if (from == to) {
            context.copy(targets, sources, (long) n * from.bytes());
        } else if (from == DType.F32 && to == DType.BF16) {
            kernels.launch("cast", "f32_to_bf16", Grid.of(n, FloatType.BF16.pack()), sources, targets, n);
        } else if (from == DType.BF16 && to == DType.F32) {
            kernels.launch("cast", "bf16_to_f32", Grid.of(n, FloatType.BF16.pack()), sources, targets, n);
        } else {
            throw new IllegalArgumentException(
                    "Elements cannot be copied from " + from + " to " + to + "; use F32, BF16 or one type for both.");
        }
    }

    @Override
    public void increment(Tensor counter) {
        kernels.launch("increment", "increment", new Grid(1, 1, 1, 1), i32(counter, 1));
    }

    // ---------------------------------------------------------------------------------------------- training

    @Override
    public void gatherBatch(
            Tensor corpus, RandomStream stream, long firstSequence, Tensor x, Tensor y, int batch, int t) {
        long n = (long) batch * t;
        kernels.launch(
                "gather",
                "gather_batch",
                Grid.of(n, 1),
                DeviceStorage.pointer(corpus, DType.U16, t + 1L),
                Math.toIntExact(corpus.size()),
                stream(stream),
                firstSequence,
                i32(x, n),
                i32(y, n),
                batch,
                t);
    }

    @Override
    public void sum(Tensor[] parts, int count, boolean add, Tensor sum) {
        int n = Math.toIntExact(sum.size());
        for (int i = 0; i < count; i++) {
            kernels.launch("sum", "add_f32", Grid.of(n, PACK), f32(parts[i], n), f32(sum, n), n, add || i > 0 ? 1 : 0);
        }
    }

    @Override
    public void norm(Tensor x, Tensor norm) {
        int n = Math.toIntExact(x.size());
        int parts = Math.min(MOST_PARTS, Grid.blocks(n, ROW_THREADS * PACK));
        CUdeviceptr squares = scratch.of((long) parts * Float.BYTES);
        kernels.launch("adamw", "squares_f32", new Grid(parts, 1, ROW_THREADS, 1), f32(x, n), squares, n);
        kernels.launch("adamw", "root_f32", new Grid(1, 1, WARP, 1), squares, f32(norm, 1), parts);
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
        adamW(params, params, grads, firstMoments, secondMoments, learningRate, step, gradNorm, settings);
    }

    @Override
    public void adamW(
            Tensor params,
            Tensor factors,
            Tensor grads,
            Tensor firstMoments,
            Tensor secondMoments,
            Tensor learningRate,
            Tensor step,
            Tensor gradNorm,
            AdamWSettings settings) {
        int n = Math.toIntExact(params.size());
        kernels.launch(
                "adamw",
                "adamw_f32",
                Grid.of(n, PACK),
                f32(params, n),
                factors == params ? NULL : FloatType.BF16.pointer(factors, n),
                f32(grads, n),
                f32(firstMoments, n),
                f32(secondMoments, n),
                f32(learningRate, 1),
                i32(step, 1),
                f32(gradNorm, 1),
                settings.beta1(),
                settings.beta2(),
                settings.eps(),
                settings.weightDecay(),
                settings.clip(),
                n);
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
        long n = (long) batch * v;
        CUdeviceptr weights = scratch.of(2 * n * Double.BYTES); // and as much for sorting
        kernels.launch(
                "sample",
                "sample_f32",
                new Grid(batch, 1, ROW_THREADS, 1),
                f32(logits, n * t),
                weights,
                weights.withByteOffset(n * Double.BYTES),
                sampling.temperature(),
                sampling.topK(),
                sampling.topP(),
                stream(stream),
                firstSequence == null ? NULL : i32(firstSequence, 1),
                i32(tokens, batch),
                t,
                v);
    }

    @Override
    public void append(Tensor tokens, Tensor next, int batch, int t) {
        CUdeviceptr windows = i32(tokens, (long) batch * t);
        kernels.launch("append", "append_tokens", new Grid(batch, 1, ROW_THREADS, 1), windows, i32(next, batch), t);
    }

    @Override
    public void close() {
        context.requireNotCapturing();
        try (context;
                staging;
                gemm;
                beside;
                kernels) { // if the context is broken, all that they hold goes with it
            if (!context.broken()) {
                context.synchronize();
            }
            scratch.free();
            padding.free();
        }
    }
}
