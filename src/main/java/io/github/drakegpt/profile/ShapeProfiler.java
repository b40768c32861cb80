package io.github.drakegpt.profile;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.MatmulCandidate;
import io.github.drakegpt.backend.Measuring.Bound;
import io.github.drakegpt.tensor.Arena;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Times a device's implementations of matrix products, at the sizes of a large model, for few rows and for many. */
public final class ShapeProfiler {
    private static final Logger log = LoggerFactory.getLogger(ShapeProfiler.class);

    /** Numbers of rows: tokens that are computed at once. */
    public static final List<Integer> ROWS = List.of(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096);

    /**
     * The matrices of BitNet b1.58 2B4T: queries, keys and values; the projection; gate and up; down. (Wang et al., "BitNet
     * b1.58 2B4T Technical Report", 2025)
     */
    public static final List<Size> BITNET_2B =
            List.of(new Size(3840, 2560), new Size(2560, 2560), new Size(13824, 2560), new Size(2560, 6912));

    /** For a longer product it does not matter where its weights come from, so not all of them are used then. */
    private static final double COLD_MILLIS = 100;

    private final Backend backend;
    private final OperationTimer timer;
    private final long rotatedBytes;

    /** A weight matrix (out, in). */
    public record Size(int out, int in) {}

    /**
     * A product, timed or failed.
     *
     * @param warm with the same weights again and again, as they are left in the caches; null if it failed
     * @param cold in turns with others, so many that none is left in a cache; null if it failed
     * @param failure why it was not timed; null if it was
     */
    public record Result(
            Size size,
            int rows,
            MatmulCandidate product,
            Benchmark.Timing warm,
            Benchmark.Timing cold,
            Throwable failure) {
        /** Bytes of weights a second that are read when they are in no cache. */
        public double bytesPerSecond() {
            return product.weightBytes(size.out(), size.in()) / (1e-3 * cold.median());
        }

        /** Multiplications and additions a second. */
        public double operationsPerSecond() {
            return 2.0 * rows * size.out() * size.in() / (1e-3 * cold.median());
        }
    }

    /**
     * What bounds the device's products, in a second: reading, and multiplying in the types of the products. Without what
     * cannot be measured.
     */
    public Map<Bound, Double> measurePeaks() {
        Map<Bound, Double> peaks = new EnumMap<>(Bound.class);
        EnumSet<Bound> bounds = EnumSet.of(Bound.READ);
        backend.products().forEach(product -> bounds.add(product.bound()));
        for (Bound bound : bounds) {
            try {
                backend.measurePeak(bound).ifPresent(peak -> peaks.put(bound, peak));
            } catch (OutOfMemoryError e) {
                log.warn("There is no memory to measure how fast it is read; the shares of it are left out.");
            }
        }
        return peaks;
    }

    /** @param seconds how long to measure each, after half as long to warm up */
    public ShapeProfiler(Backend backend, double seconds) {
        this(backend, seconds, OperationTimer.ROTATED_BYTES);
    }

    ShapeProfiler(Backend backend, double seconds, long rotatedBytes) {
        this.backend = backend;
        this.timer = new OperationTimer(backend, seconds);
        this.rotatedBytes = rotatedBytes;
    }

    /**
     * All products that the device has for a size: each with all numbers of rows, for which its weights stay where they are.
     *
     * @param results gets each as it comes
     */
    public void run(Size size, List<Integer> rows, Consumer<Result> results) {
        for (MatmulCandidate product : backend.products()) {
            try (Weights weights = new Weights(size, product)) {
                for (int count : rows) {
                    if (product.supports(count, size.out(), size.in())) {
                        results.accept(time(weights, count));
                    }
                }
            }
        }
    }

    private Result time(Weights weights, int rows) {
        try (Arena arena = backend.newArena()) {
            List<Runnable> operations = weights.prepared().products(arena, rows);
            Benchmark.Timing warm = timer.time(arena, operations.subList(0, 1));
            int some = (int) Math.max(1, Math.min(operations.size(), COLD_MILLIS / warm.median()));
            Benchmark.Timing cold = timer.time(arena, operations.subList(0, some));
            return new Result(weights.size, rows, weights.product, warm, cold, null);
        } catch (RuntimeException | OutOfMemoryError e) {
            return new Result(weights.size, rows, weights.product, null, null, e);
        }
    }

    /** Allocated at the first product; if that fails, again for the next number of rows. */
    private final class Weights implements AutoCloseable {
        private final Size size;
        private final MatmulCandidate product;
        private Arena arena;
        private MatmulCandidate.Prepared prepared;

        Weights(Size size, MatmulCandidate product) {
            this.size = size;
            this.product = product;
        }

        MatmulCandidate.Prepared prepared() {
            if (prepared == null) {
                close(); // free what a failure has left
                arena = backend.newArena();
                long count = 1 + rotatedBytes / product.weightBytes(size.out(), size.in());
                prepared = product.prepare(arena, size.out(), size.in(), Math.toIntExact(count));
            }
            return prepared;
        }

        @Override
        public void close() {
            if (arena != null) {
                arena.close();
                arena = null;
            }
        }
    }
}
