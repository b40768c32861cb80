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

/** Estimates the loss on a split: the mean over random batches, as the original code does. A Scorer measures it. */
final class Evaluator {
    private final Backend backend;
    private final LanguageModel[] replicas;
    private final List<Pass> shards;
    private final Tensor losses; // (shards)
    private final Runnable[] regions; // one for each shard
    private final Runnable operations;
    private final long tokens;

    /** @param passes over which the loss is the mean, from {@link Shards#evaluation} */
    Evaluator(Backend backend, Arena arena, LanguageModel[] replicas, BatchSampler sampler, List<Pass> passes) {
        this.backend = backend;
        this.replicas = replicas;
        this.shards = passes;
        this.losses = arena.allocate(DType.F32, Shape.of(shards.size()));
        this.regions = regions(arena, sampler);
        this.operations = backend.record(arena, this::operations);
        this.tokens = shards.stream().mapToLong(Pass::rows).sum();
    }

    private Runnable[] regions(Arena arena, BatchSampler sampler) {
        GatherBatchOp[] gathers = Arrays.stream(replicas)
                .map(model -> sampler.into(model.tokens(), model.targets()))
                .toArray(GatherBatchOp[]::new);
        Tensor[] elements = TrainingStep.elements(losses);
        Runnable[] regions = new Runnable[shards.size()];
        for (int i = 0; i < regions.length; i++) {
            int replica = i % replicas.length;
            LanguageModel model = replicas[replica];
            CrossEntropyOp loss = model.evaluationLoss(elements[i]);
            Pass pass = shards.get(i);
            regions[i] = backend.region(arena, ops -> {
                ops.gatherBatch(gathers[replica], pass);
                model.forwardLoss(ops, loss, pass);
            });
        }
        return regions;
    }

    private void operations() {
        replicas[0].roundWeights();
        backend.parallel(replicas.length, r -> {
            for (int i = r; i < regions.length; i += replicas.length) {
                regions[i].run();
            }
        });
    }

    /** Mean loss in nats per token over batches that the sampler draws for the current step. */
    double loss() {
        operations.run();
        double sum = 0;
        for (float loss : losses.toFloats()) {
            sum += loss;
        }
        return sum / tokens;
    }
}
