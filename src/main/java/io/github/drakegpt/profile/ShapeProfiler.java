package io.github.drakegpt.profile;

import io.github.drakegpt.backend.Arena;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.MatrixProduct;
import java.util.ArrayList;
import java.util.List;

/** Times the ways in which a device multiplies, at the sizes of a large model, for few rows and for many. */
public final class ShapeProfiler {
    /** Numbers of rows: tokens that are computed at once. */
    public static final List<Integer> ROWS = List.of(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096);

    /**
     * The matrices of BitNet b1.58 2B4T: queries, keys and values; the projection; gate and up; down. (Wang et al., "BitNet
     * b1.58 2B4T Technical Report", 2025)
     */
    public static final List<Size> BITNET_2B =
            List.of(new Size(3840, 2560), new Size(2560, 2560), new Size(13824, 2560), new Size(2560, 6912));

    /** A product that takes long does not notice where its weights come from: not all of them are gone through then. */
    private static final double COLD_MILLIS = 100;

    private final Backend backend;
    private final OperationTimer timer;
    private final long rotatedBytes;

    /** A weight matrix (out, in). */
    public record Size(int out, int in) {}

    /**
     * @param warm with the same weights again and again, as they are left in the caches
     * @param cold in turns with others, so many that none is left in a cache
     */
    public record Result(Size size, int rows, MatrixProduct product, Benchmark.Timing warm, Benchmark.Timing cold) {}

    /** @param seconds how long to measure each, after half as long to warm up */
    public ShapeProfiler(Backend backend, double seconds) {
        this(backend, seconds, OperationTimer.ROTATED_BYTES);
    }

    ShapeProfiler(Backend backend, double seconds, long rotatedBytes) {
        this.backend = backend;
        this.timer = new OperationTimer(backend, seconds);
        this.rotatedBytes = rotatedBytes;
    }

    /** All products that the device has, for a size and a number of rows. */
    public List<Result> run(Size size, int rows) {
        List<Result> results = new ArrayList<>();
        for (MatrixProduct product : backend.products()) {
            if (product.supports(rows, size.out(), size.in())) {
                long weights = 1 + rotatedBytes / product.weightBytes(size.out(), size.in());
                try (Arena arena = backend.newArena()) {
                    List<Runnable> operations =
                            product.prepare(arena, rows, size.out(), size.in(), Math.toIntExact(weights));
                    Benchmark.Timing warm = timer.time(arena, operations.subList(0, 1));
                    int cold = (int) Math.max(1, Math.min(weights, COLD_MILLIS / warm.median()));
                    results.add(new Result(size, rows, product, warm, timer.time(arena, operations.subList(0, cold))));
                }
            }
        }
        return results;
    }
}
