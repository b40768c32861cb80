package io.github.drakegpt.train;

import io.github.drakegpt.backend.Arena;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.data.BatchSampler;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.nn.Pass;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.List;

/** Estimates the loss on a split: the mean over random batches, as the original code does. */
final class Evaluator {
    private final Backend backend;
    private final LanguageModel[] replicas;
    private final BatchSampler sampler;
    private final List<Pass> shards;
    private final Tensor losses; // (shards)
    private final Tensor[] slots; // each (1)
    private final Runnable operations;
    private final long tokens;

    Evaluator(
            Backend backend,
            Arena arena,
            LanguageModel[] replicas,
            BatchSampler sampler,
            int batches,
            int batchSize,
            int length) {
        this.backend = backend;
        this.replicas = replicas;
        this.sampler = sampler;
        this.shards = Shards.split(backend, batches, batchSize, length).stream()
                .map(shard -> new Pass(shard.batch(), shard.length(), shard.firstSequence(), false, false))
                .toList();
        this.losses = arena.allocate(DType.F32, Shape.of(shards.size()));
        this.slots = TrainingStep.elements(losses);
        this.operations = backend.record(arena, this::operations);
        this.tokens = shards.stream().mapToLong(Pass::rows).sum();
    }

    private void operations() {
        backend.parallel(replicas.length, r -> {
            for (int i = r; i < slots.length; i += replicas.length) {
                LanguageModel model = replicas[r];
                Pass pass = shards.get(i);
                sampler.draw(pass.firstSequence(), pass.batch(), pass.length(), model.tokens(), model.targets());
                model.forwardLoss(pass, slots[i]);
            }
        });
    }

    /** Mean loss in nats per token over batches that the sampler draws for the present step. */
    double loss() {
        operations.run();
        double sum = 0;
        for (float loss : losses.toFloats()) {
            sum += loss;
        }
        return sum / tokens;
    }
}
