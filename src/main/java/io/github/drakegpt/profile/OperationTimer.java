package io.github.drakegpt.profile;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.DeviceClock;
import io.github.drakegpt.tensor.Arena;
import java.util.ArrayList;
import java.util.List;

/**
 * Times operations by the device's own clock, many in a row as recorded work between two synchronizations, so that the
 * host's part does not count.
 */
final class OperationTimer {
    /** Bytes between two uses of the same memory that should not be in a cache: more than any GPU's cache. */
    static final long ROTATED_BYTES = 256L << 20;

    private static final int MOST_RECORDED = 64;
    private static final double RECORDED_SECONDS = 1e-3;
    /** Time between two synchronizations, each of which takes a GPU some 20 us. */
    private static final double SAMPLE_SECONDS = 2e-2;

    private final Backend backend;
    private final double seconds;

    /** @param seconds to measure each, after half as long to warm up; at least three samples */
    OperationTimer(Backend backend, double seconds) {
        this.backend = backend;
        this.seconds = seconds;
    }

    /**
     * The time of one of several operations that run in turns.
     *
     * @param arena whose tensors they use
     */
    Benchmark.Timing time(Arena arena, List<Runnable> operations) {
        DeviceClock clock = backend.newClock(arena, 2);
        seconds(operations.get(0), 1, clock); // loads the kernel
        double once = seconds(operations.get(0), 1, clock);
        int count = (int) Math.max(operations.size(), Math.min(MOST_RECORDED, RECORDED_SECONDS / once));
        Runnable recorded = backend.record(arena, () -> {
            for (int i = 0; i < count; i++) {
                operations.get(i % operations.size()).run();
            }
        });
        seconds(recorded, 2, clock); // the second run is recorded
        double sample = Math.min(SAMPLE_SECONDS, seconds / 5);
        int times = (int) Math.max(1, sample / seconds(recorded, 1, clock));
        long begin = System.nanoTime();
        List<Long> nanos = new ArrayList<>();
        for (long now = begin; nanos.size() < 3 || now - begin < 1.5e9 * seconds; now = System.nanoTime()) {
            if (now - begin < 0.5e9 * seconds) {
                nanos.clear(); // warms up
            }
            nanos.add((long) (1e9 * seconds(recorded, times, clock) / ((double) times * count)));
        }
        return Benchmark.Timing.of(nanos.stream().mapToLong(n -> n).toArray());
    }

    private static double seconds(Runnable work, int times, DeviceClock clock) {
        clock.mark(0);
        for (int i = 0; i < times; i++) {
            work.run();
        }
        clock.mark(1);
        return clock.seconds(0, 1);
    }
}
