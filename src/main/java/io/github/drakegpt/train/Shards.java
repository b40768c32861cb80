package io.github.drakegpt.train;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.ops.Pass;
import java.util.ArrayList;
import java.util.List;

/** Splits the sequences of a batch into the parts that the backend computes one by one or concurrently. */
final class Shards {
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

    /** The same without dropout. */
    static List<Pass> evaluation(Backend backend, int batches, int batchSize, int length) {
        return split(backend, batches, batchSize, length).stream()
                .map(pass -> new Pass(pass.batch(), pass.length(), pass.firstSequence(), false, false))
                .toList();
    }
}
