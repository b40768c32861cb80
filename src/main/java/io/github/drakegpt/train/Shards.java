package io.github.drakegpt.train;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Rank;
import io.github.drakegpt.ops.Pass;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** Splits the sequences of a batch into the parts that the backend computes one by one or concurrently. */
final class Shards {
    /** How many times the batch a larger one is looked for up to, for each process. */
    private static final int MOST_TIMES = 256;

    private Shards() {}

    /** The training passes of all parts of {@code batches} batches, in order. */
    static List<Pass> split(Backend backend, int batches, int batchSize, int length) {
        int parts = backend.shards(batchSize, length);
        List<Pass> shards = new ArrayList<>();
        for (int batch = 0; batch < batches; batch++) {
            for (int part = 0; part < parts; part++) {
                int from = Math.toIntExact((long) part * batchSize / parts);
                int to = Math.toIntExact((long) (part + 1) * batchSize / parts);
                shards.add(Pass.training(to - from, length, (long) batch * batchSize + from));
            }
        }
        return shards;
    }

    /**
     * Those of a step that a process computes: as many as each of the others, with as many sequences.
     *
     * @throws IllegalArgumentException if they cannot be shared so
     */
    static List<Pass> ofStep(List<Pass> all, Rank rank, Backend backend, TrainConfig config, int length) {
        if (Integer.bitCount(rank.size()) != 1) {
            throw new IllegalArgumentException(rank.size()
                    + " processes cannot add up gradients as one does; start a number that is a power of two.");
        }
        if (!canShare(all, rank.size())) {
            int batchSize = config.batchSize();
            int fewer = batchSize;
            int more = batchSize;
            while (fewer > 0 && !canShare(split(backend, config.gradAccum(), fewer, length), rank.size())) {
                fewer--;
            }
            while (more < MOST_TIMES * batchSize * rank.size()
                    && !canShare(split(backend, config.gradAccum(), more, length), rank.size())) {
                more++;
            }
            throw new IllegalArgumentException(rank.size() + " processes cannot share a step of "
                    + config.sequencesPerStep() + " sequences in " + all.size()
                    + " parts evenly; set train.batch_size to "
                    + (fewer > 0 ? fewer + " or " + more : "" + more)
                    + ", or start fewer processes.");
        }
        int each = all.size() / rank.size();
        return all.subList(rank.number() * each, (rank.number() + 1) * each);
    }

    /** Whether so many processes, a power of two, get as many parts and sequences each. */
    private static boolean canShare(List<Pass> all, int ranks) {
        int each = all.size() / ranks;
        if (each * ranks != all.size()) {
            return false;
        }
        return IntStream.range(0, ranks)
                        .map(rank -> all.subList(rank * each, (rank + 1) * each).stream()
                                .mapToInt(Pass::batch)
                                .sum())
                        .distinct()
                        .count()
                == 1;
    }

    /** The same without dropout. */
    static List<Pass> evaluation(Backend backend, int batches, int batchSize, int length) {
        return split(backend, batches, batchSize, length).stream()
                .map(pass -> new Pass(pass.batch(), pass.length(), pass.firstSequence(), false, false))
                .toList();
    }
}
