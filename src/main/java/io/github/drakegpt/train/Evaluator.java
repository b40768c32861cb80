package io.github.drakegpt.train;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Collective;
import io.github.drakegpt.data.BatchSampler;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.ops.CopyOp;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.GatherBatchOp;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;
import java.util.List;

/**
 * Estimates the loss on a split: the mean over random batches, as the original code does, of which each process computes
 * its share. A Scorer measures it.
 */
final class Evaluator {
    private final Backend backend;
    private final Collective collective;
    private final LanguageModel[] replicas;
    private final List<Pass> shards;
    private final int from; // the first shard of this process
    private final Tensor losses; // (shards)
    private final CopyOp clear; // before losses of all processes are added
    private final Runnable[] regions; // one for each shard of this process
    private final Runnable operations;
    private final long tokens;

    /** @param passes over which the loss is the mean, from {@link Shards#evaluation} */
    Evaluator(
            Backend backend,
            Collective collective,
            Arena arena,
            LanguageModel[] replicas,
            BatchSampler sampler,
            List<Pass> passes) {
        this.backend = backend;
        this.collective = collective;
        this.replicas = replicas;
        this.shards = passes;
        this.from = share(collective.rank().number());
        this.losses = arena.allocate(DType.F32, Shape.of(shards.size()));
        if (collective.rank().size() > 1) {
            Tensor none = arena.allocate(DType.F32, losses.shape());
            none.write(new float[shards.size()]);
            this.clear = new CopyOp(none, losses);
        } else {
            this.clear = null;
        }
        this.regions = regions(arena, sampler);
        this.operations = backend.record(arena, this::operations);
        this.tokens = shards.stream().mapToLong(Pass::rows).sum();
    }

    /** The first shard of a process. */
    private int share(int rank) {
        return Math.toIntExact((long) shards.size() * rank / collective.rank().size());
    }

    private Runnable[] regions(Arena arena, BatchSampler sampler) {
        GatherBatchOp[] gathers = Arrays.stream(replicas)
                .map(model -> sampler.into(model.tokens(), model.targets()))
                .toArray(GatherBatchOp[]::new);
        Tensor[] elements = TrainingStep.elements(losses);
        Runnable[] regions = new Runnable[share(collective.rank().number() + 1) - from];
        for (int i = 0; i < regions.length; i++) {
            int replica = i % replicas.length;
            LanguageModel model = replicas[replica];
            CrossEntropyOp loss = model.evaluationLoss(elements[from + i]);
            Pass pass = shards.get(from + i);
            regions[i] = backend.region(arena, ops -> {
                ops.gatherBatch(gathers[replica], pass);
                model.forwardLoss(ops, loss, pass);
            });
        }
        return regions;
    }

    private void operations() {
        if (clear != null) {
            backend.copy(clear);
        }
        replicas[0].roundWeights();
        backend.parallel(replicas.length, r -> {
            for (int i = r; i < regions.length; i += replicas.length) {
                regions[i].run();
            }
        });
        if (clear != null) {
            backend.allReduce(collective, losses);
        }
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
