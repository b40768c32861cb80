package io.github.drakegpt.train;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Collective;
import io.github.drakegpt.data.BatchSampler;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.nn.MeasuringArena;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.ops.AdamWOp;
import io.github.drakegpt.ops.CopyOp;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.GatherBatchOp;
import io.github.drakegpt.ops.GradNormOp;
import io.github.drakegpt.ops.IncrementOp;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.OutOfMemoryException;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.IntStream;

/**
 * A model with its optimizer, and the step that trains it: draw a batch, forward, backward, AdamW.
 *
 * <p>A step's batch is split into shards. Replicas of the model, as many as the backend runs concurrently, share the
 * parameters, and each has buffers for one shard; their gradients are added up as a {@link GradientTree}, so that the
 * result depends neither on the number of replicas nor on the order in which they finish. All buffers are made here; a
 * step allocates nothing.
 *
 * <p>Several processes train one model: each has all of the parameters, takes its share of the shards, and adds the sum of
 * their gradients to the others'.
 *
 * <p>An asynchronous device is given several steps at once: it counts them itself, and each has a {@link Slot} of its
 * own for its inputs from the host and its results. The result is the same to the bit however steps are grouped.
 */
public final class TrainingStep implements TrainingListener.Step, AutoCloseable {
    /** Maximum seconds of queued work on the device, and so the longest wait of a request to stop. */
    private static final double MOST_AHEAD = 0.1;
    /** Approximate floating-point operations of a forward and a backward pass for each parameter and token. */
    private static final double FLOPS = 6;

    private final Backend backend;
    private final Collective collective;
    private final ModelConfig modelConfig;
    private final TrainConfig config;
    private final char[] tokens;
    private final Arena arena;
    private final LanguageModel[] replicas;
    private final int allShards;
    private final List<Pass> shards; // of this process
    private final int firstShard;
    private final float gradScale;
    private final BatchSampler batches;
    private final GatherBatchOp[] gathers; // one for each replica
    private final IncrementOp nextStep;
    private final GradientTree tree; // null if there is one shard and one process
    private final Shared shared; // null if there is one process
    private final List<Slot> slots;
    private final Recorded alone;
    private final Recorded together;

    private final Tensor stepNumber; // I32 (1)
    private final Tensor quantStrength; // (1), or null
    private final Tensor learningRates; // (slots)
    private final Tensor quantStrengths; // (slots), or null
    private final float[] rates; // (slots), as above
    private final float[] strengths; // (slots)
    private boolean askedToStop;
    private final Tensor weights; // (P)
    private final Tensor grads; // (P)
    private final Tensor firstMoments; // (P)
    private final Tensor secondMoments; // (P)

    private Slot last;
    private int ahead; // steps since the device was last waited for
    private int mostAhead = 1;
    private long aheadSince;

    /** The same in a single process. */
    public static TrainingStep create(Backend backend, ModelConfig modelConfig, TrainConfig config, char[] tokens) {
        return create(backend, Collective.ALONE, modelConfig, config, tokens);
    }

    /**
     * Builds the model with initial weights for the seed.
     *
     * @param collective the processes that train it, of which each calls this
     * @param tokens of the training split
     * @throws IllegalArgumentException if the split is too short for the model's context, or the processes cannot share a
     *     step evenly
     * @throws OutOfMemoryException that names the largest batch for which the device has the memory
     */
    public static TrainingStep create(
            Backend backend, Collective collective, ModelConfig modelConfig, TrainConfig config, char[] tokens) {
        Arena arena = backend.newArena();
        try {
            TrainingStep step = new TrainingStep(backend, collective, arena, modelConfig, config, tokens);
            step.setWeights(step.parameters().initialValues(config.seed()));
            return step;
        } catch (OutOfMemoryException e) {
            arena.close();
            throw tooLarge(e, arena.available(), backend, collective, modelConfig, config, tokens);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    private TrainingStep(
            Backend backend,
            Collective collective,
            Arena arena,
            ModelConfig modelConfig,
            TrainConfig config,
            char[] tokens) {
        this.backend = backend;
        this.collective = collective;
        this.modelConfig = modelConfig;
        this.config = config;
        this.tokens = tokens;
        this.arena = arena;
        int length = modelConfig.contextLength();
        if ((long) config.sequencesPerStep() * length > Integer.MAX_VALUE) {
            throw new IllegalArgumentException(config.sequencesPerStep() + " sequences of " + length
                    + " tokens in a step are more than " + Integer.MAX_VALUE
                    + " tokens; lower train.batch_size, train.grad_accum or model.context_length.");
        }
        stepNumber = arena.allocate(DType.I32, Shape.of(1));
        quantStrength = config.quantWarmupIters() > 0 ? arena.allocate(DType.F32, Shape.of(1)) : null;
        if (quantStrength != null) {
            quantStrength.write(1f);
        }
        batches = new BatchSampler(
                arena, "training", tokens, modelConfig.vocabSize(), length, stream(RandomStream.TRAIN_BATCH));

        List<Pass> all = Shards.split(backend, config.gradAccum(), config.batchSize(), length);
        allShards = all.size();
        shards = Shards.ofStep(all, collective.rank(), backend, config, length);
        firstShard = collective.rank().number() * shards.size();
        replicas = new LanguageModel[Math.min(backend.workers(), shards.size())];
        gathers = new GatherBatchOp[replicas.length];
        LayerContext.Training training = new LayerContext.Training(config.seed(), stepNumber, quantStrength);
        for (int i = 0; i < replicas.length; i++) {
            LanguageModel first = i == 0 ? null : replicas[0];
            replicas[i] = LanguageModel.forTraining(modelConfig, backend, arena, sequencesPerPass(), training, first);
            gathers[i] = batches.into(replicas[i].tokens(), replicas[i].targets());
        }
        gradScale = 1f / Math.multiplyExact(config.sequencesPerStep(), length);
        weights = replicas[0].weights();
        shared = collective.rank().size() == 1 ? null : new Shared();
        grads = shared != null
                ? shared.grads
                : shards.size() == 1 ? replicas[0].grads() : arena.allocate(DType.F32, weights.shape());
        tree = grads == replicas[0].grads()
                ? null
                : new GradientTree(
                        shards.size(),
                        Arrays.stream(replicas).map(LanguageModel::grads).toList(),
                        grads,
                        () -> arena.allocate(DType.F32, weights.shape()));
        firstMoments = arena.allocate(DType.F32, weights.shape());
        secondMoments = arena.allocate(DType.F32, weights.shape());
        nextStep = new IncrementOp(stepNumber);
        double flops = FLOPS * parameters().count() * config.sequencesPerStep() * length;
        int most = backend.repetitionsPerLaunch(Math.min(config.evalInterval(), config.iters()), flops);
        rates = new float[most];
        strengths = new float[most];
        learningRates = arena.allocate(DType.F32, Shape.of(most));
        quantStrengths = quantStrength != null ? arena.allocate(DType.F32, Shape.of(most)) : null;
        Tensor losses = arena.allocate(DType.F32, Shape.of(most, allShards));
        Tensor gradNorms = arena.allocate(DType.F32, Shape.of(most));
        slots = IntStream.range(0, most)
                .mapToObj(i -> new Slot(i, losses, gradNorms))
                .toList();
        last = slots.get(0);
        alone = new Recorded(slots.subList(0, 1));
        together = most == 1 ? alone : new Recorded(slots);
    }

    /** What all processes add up in a step, at once: the gradient, the losses of all shards, and requests to stop. */
    private final class Shared {
        private final Tensor all = arena.allocate(DType.F32, Shape.of(Math.toIntExact(weights.size() + allShards + 1)));
        private final Tensor grads = all.slice(0, weights.shape()); // (P)
        private final Tensor losses = all.slice(weights.size(), Shape.of(allShards)); // (shards)
        private final Tensor own = losses.slice(firstShard, Shape.of(shards.size())); // of this process
        private final Tensor stop = all.slice(weights.size() + allShards, Shape.of(1)); // (1)
        private final Tensor none = arena.allocate(DType.F32, losses.shape());
        private final Tensor asked = arena.allocate(DType.F32, Shape.of(1)); // whether this process is asked to stop
        private final CopyOp clear = new CopyOp(none, losses);
        private final CopyOp ask = new CopyOp(asked, stop);

        Shared() {
            none.write(new float[allShards]);
        }

        void add(Slot slot) {
            backend.copy(clear);
            backend.copy(slot.giveLosses);
            backend.copy(ask);
            backend.allReduce(collective, all);
            backend.copy(slot.takeLosses);
        }
    }

    /** One of the steps that are taken together. */
    private final class Slot implements TrainingListener.Step {
        private final Tensor learningRate; // (1)
        private final Tensor strength; // (1), or null
        private final Tensor losses; // (shards)
        private final CrossEntropyOp[] shardLosses; // of this process
        private final CopyOp giveLosses; // to the other processes; null if there are none
        private final CopyOp takeLosses;
        private final Tensor gradNorm; // (1)
        private final CopyOp setStrength; // or null
        private final GradNormOp gradNormOp;
        private final AdamWOp decayed;
        private final AdamWOp undecayed;
        private int number;
        private double rate;

        /**
         * @param losses (slots, shards)
         * @param gradNorms (slots)
         */
        Slot(int place, Tensor losses, Tensor gradNorms) {
            this.learningRate = learningRates.slice(place, Shape.of(1));
            this.strength = quantStrengths != null ? quantStrengths.slice(place, Shape.of(1)) : null;
            this.losses = losses.slice((long) place * allShards, Shape.of(allShards));
            Tensor[] elements = elements(this.losses);
            this.shardLosses = IntStream.range(0, shards.size())
                    .mapToObj(i -> replicas[i % replicas.length].trainingLoss(elements[firstShard + i], gradScale))
                    .toArray(CrossEntropyOp[]::new);
            this.giveLosses =
                    shared == null ? null : new CopyOp(this.losses.slice(firstShard, shared.own.shape()), shared.own);
            this.takeLosses = shared == null ? null : new CopyOp(shared.losses, this.losses);
            this.gradNorm = gradNorms.slice(place, Shape.of(1));
            this.setStrength = strength == null ? null : new CopyOp(strength, quantStrength);
            this.gradNormOp = new GradNormOp(grads, gradNorm);
            this.decayed = adamW(config.weightDecay());
            this.undecayed = adamW(0);
        }

        private AdamWOp adamW(float weightDecay) {
            AdamWOp.State state =
                    new AdamWOp.State(weights, replicas[0].matmulWeights(), grads, firstMoments, secondMoments);
            return new AdamWOp(state, learningRate, stepNumber, gradNorm, config.adamW(weightDecay));
        }

        @Override
        public int number() {
            return number;
        }

        @Override
        public float loss() {
            float sum = 0;
            for (float loss : read(losses)) {
                sum += loss;
            }
            return sum * gradScale;
        }

        @Override
        public float gradNorm() {
            return read(gradNorm)[0];
        }

        /** Waits for all queued steps. */
        private float[] read(Tensor tensor) {
            float[] values = tensor.toFloats();
            ahead = 0;
            return values;
        }

        @Override
        public double learningRate() {
            return rate;
        }

        @Override
        public boolean isDone() {
            return backend.isSynchronous() || ahead == 0;
        }
    }

    /** Steps that are started together, with weight decay and without. */
    private final class Recorded {
        private final List<Slot> steps;
        private final Runnable decayed;
        private final Runnable undecayed;

        Recorded(List<Slot> steps) {
            this.steps = steps;
            this.decayed = record(slot -> slot.decayed);
            this.undecayed = record(slot -> slot.undecayed);
        }

        private Runnable record(Function<Slot, AdamWOp> adamW) {
            List<Runnable> operations = steps.stream()
                    .map(slot -> operations(slot, adamW.apply(slot)))
                    .toList();
            return backend.record(arena, () -> operations.forEach(Runnable::run));
        }
    }

    /**
     * Adds to the device's message the largest batch that fits into {@code available} bytes, of which a twentieth is
     * reserved for scratch memory of operations and for rounding.
     */
    private static OutOfMemoryException tooLarge(
            OutOfMemoryException e,
            long available,
            Backend backend,
            Collective collective,
            ModelConfig modelConfig,
            TrainConfig config,
            char[] tokens) {
        if (collective.rank().size() > 1) { // a batch that fits would have to divide as well
            return new OutOfMemoryException(e.getMessage() + " Set train.batch_size lower.", e);
        }
        int fits = 0;
        int tooMany = config.batchSize();
        while (tooMany - fits > 1) {
            int batch = fits + (tooMany - fits) / 2;
            MeasuringArena measure = new MeasuringArena();
            new TrainingStep(backend, collective, measure, modelConfig, config.withBatchSize(batch), tokens);
            if (measure.bytes() <= available / 20 * 19) {
                fits = batch;
            } else {
                tooMany = batch;
            }
        }
        String advice = fits > 0
                ? " The largest batch that fits is " + fits + "; set train.batch_size to that."
                : " Not even a batch of one sequence fits; choose a smaller model.";
        return new OutOfMemoryException(e.getMessage() + advice, e);
    }

    /** The elements of a vector as tensors (1). */
    static Tensor[] elements(Tensor vector) {
        Tensor[] elements = new Tensor[(int) vector.size()];
        for (int i = 0; i < elements.length; i++) {
            elements[i] = vector.slice(i, Shape.of(1));
        }
        return elements;
    }

    /** The sampler of the step's batches. */
    BatchSampler batches() {
        return batches;
    }

    /** A stream of random numbers that depends on the step. */
    RandomStream stream(int purpose) {
        return new RandomStream(config.seed(), purpose, stepNumber);
    }

    /** Does step {@code number}, counted from 1. */
    public void run(int number) {
        run(number, number);
    }

    /** Tells the other processes, with the steps that follow, whether this one is asked to stop. */
    void askToStop(boolean asked) {
        askedToStop = asked;
    }

    /** Whether one of several processes was asked to stop before the last step; waits for it. */
    boolean isToStop() {
        return shared.stop.toFloats()[0] > 0;
    }

    /** The most steps that {@link #run(int, int)} does at once. */
    public int stepsPerLaunch() {
        return slots.size();
    }

    /**
     * Does the first of the steps {@code first} to {@code end}, or as many of them as are grouped. The device may still
     * be at work when this returns, but not for much longer than a tenth of a second; reading a value waits for it.
     *
     * @return the steps that were done, readable until the next call
     * @throws IllegalArgumentException if there is no such step
     */
    public List<? extends TrainingListener.Step> run(int first, int end) {
        if (first < 1 || end < first) {
            throw new IllegalArgumentException("There are no steps " + first + " to " + end
                    + "; begin with 1 and end with the same or a later one.");
        }
        boolean all = end - first >= slots.size() - 1
                && decays(first) == decays(first + slots.size() - 1); // changes at most once
        Recorded recorded = all ? together : alone;
        try {
            start(recorded, first);
        } catch (OutOfMemoryException e) { // scratch memory that grows in the first steps
            throw tooLarge(e, arena.bytes() + arena.available(), backend, collective, modelConfig, config, tokens);
        }
        return recorded.steps;
    }

    private boolean decays(int number) {
        return config.schedule().decays(config, number);
    }

    private void start(Recorded recorded, int first) {
        if (ahead == 0) {
            aheadSince = System.nanoTime();
        }
        if (last.number != first - 1) {
            stepNumber.write(first - 1);
        }
        for (int i = 0; i < recorded.steps.size(); i++) {
            last = recorded.steps.get(i);
            last.number = first + i;
            last.rate = config.learningRate(last.number);
            rates[i] = (float) last.rate;
            if (quantStrength != null) {
                strengths[i] = Math.min(1, (float) last.number / config.quantWarmupIters());
            }
        }
        learningRates.write(rates);
        if (shared != null) {
            shared.asked.write(askedToStop ? 1f : 0f);
        }
        if (quantStrength != null) {
            quantStrengths.write(strengths);
        }
        (decays(first) ? recorded.decayed : recorded.undecayed).run();
        if (quantStrength != null && last.number < config.quantWarmupIters()) {
            quantStrength.write(1f); // evaluations between steps see the model as it will be used
        }
        ahead += recorded.steps.size();
        if (ahead >= mostAhead) {
            int waitedFor = ahead;
            last.gradNorm();
            double seconds = (System.nanoTime() - aheadSince) * 1e-9;
            mostAhead = (int) Math.max(1, MOST_AHEAD / seconds * waitedFor);
        }
    }

    /** A step; values that change from one to the next are read from tensors. */
    private Runnable operations(Slot slot, AdamWOp adamW) {
        Consumer<Operations> optimize = ops -> {
            ops.gradNorm(slot.gradNormOp);
            ops.adamW(adamW);
        };
        Runnable pass = tree == null
                ? backend.region(arena, ops -> {
                    forwardBackward(ops, slot, 0);
                    optimize.accept(ops);
                })
                : inShards(slot, optimize);
        return () -> {
            backend.increment(nextStep);
            if (slot.setStrength != null) {
                backend.copy(slot.setStrength);
            }
            replicas[0].roundWeights();
            pass.run();
        };
    }

    private void forwardBackward(Operations ops, Slot slot, int shard) {
        int replica = shard % replicas.length;
        Pass pass = shards.get(shard);
        ops.gatherBatch(gathers[replica], pass);
        replicas[replica].forwardBackward(ops, slot.shardLosses[shard], pass);
    }

    /** As many shards concurrently as there are replicas, and the sum of their gradients; then the next ones. */
    private Runnable inShards(Slot slot, Consumer<Operations> optimize) {
        Runnable[] regions = IntStream.range(0, shards.size())
                .mapToObj(shard -> backend.region(arena, ops -> forwardBackward(ops, slot, shard)))
                .toArray(Runnable[]::new);
        return () -> {
            for (int first = 0; first < regions.length; first += replicas.length) {
                int from = first;
                backend.parallel(Math.min(replicas.length, regions.length - first), r -> regions[from + r].run());
                tree.add(backend, first / replicas.length);
            }
            if (shared != null) {
                shared.add(slot);
            }
            optimize.accept(backend);
        };
    }

    /**
     * The number of the last step that was done; the other methods of {@link TrainingListener.Step} are about the same
     * step.
     */
    @Override
    public int number() {
        return last.number();
    }

    @Override
    public float loss() {
        return last.loss();
    }

    @Override
    public float gradNorm() {
        return last.gradNorm();
    }

    @Override
    public double learningRate() {
        return last.learningRate();
    }

    @Override
    public boolean isDone() {
        return last.isDone();
    }

    /** The model's parameters: their names, shapes and places in a flat buffer. */
    public Parameters parameters() {
        return replicas[0].parameters();
    }

    /** Models that share the parameters, for passes between steps; as many as the backend runs concurrently. */
    LanguageModel[] replicas() {
        return replicas;
    }

    /** The most sequences that a replica has buffers for. */
    int sequencesPerPass() {
        return shards.stream().mapToInt(Pass::batch).max().orElseThrow();
    }

    Arena arena() {
        return arena;
    }

    /** Overwrites the parameters. */
    void setWeights(float[] flat) {
        replicas[0].setWeights(flat);
    }

    /** Flat buffer of the parameters. */
    Tensor weights() {
        return weights;
    }

    /** AdamW's mean of the gradients, laid out as the parameters. */
    Tensor firstMoments() {
        return firstMoments;
    }

    /** AdamW's mean of the squared gradients, laid out as the parameters. */
    Tensor secondMoments() {
        return secondMoments;
    }

    @Override
    public void close() {
        arena.close();
    }
}
