package io.github.drakegpt.train;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.data.BatchSampler;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.GatherBatchOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** Estimates the loss on a split: the mean over random batches, as the original code does. */
final class Evaluator {
    private final Backend backend;
    private final LanguageModel[] replicas;
    private final GatherBatchOp[] gathers; // one for each replica
    private final List<Pass> shards;
    private final Tensor losses; // (shards)
    private final CrossEntropyOp[] slots; // one for each shard
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
        this.gathers = Arrays.stream(replicas)
                .map(model -> sampler.into(model.tokens(), model.targets()))
                .toArray(GatherBatchOp[]::new);
        this.shards = Shards.split(backend, batches, batchSize, length).stream()
                .map(shard -> new Pass(shard.batch(), shard.length(), shard.firstSequence(), false, false))
                .toList();
        this.losses = arena.allocate(DType.F32, Shape.of(shards.size()));
        Tensor[] elements = TrainingStep.elements(losses);
        this.slots = IntStream.range(0, elements.length)
                .mapToObj(i -> replicas[i % replicas.length].evaluationLoss(elements[i]))
                .toArray(CrossEntropyOp[]::new);
        this.operations = backend.record(arena, this::operations);
        this.tokens = shards.stream().mapToLong(Pass::rows).sum();
    }

    private void operations() {
        backend.parallel(replicas.length, r -> {
            for (int i = r; i < slots.length; i += replicas.length) {
                LanguageModel model = replicas[r];
                Pass pass = shards.get(i);
                backend.gatherBatch(gathers[r], pass);
                model.forwardLoss(slots[i], pass);
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
