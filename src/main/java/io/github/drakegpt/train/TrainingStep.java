package io.github.drakegpt.train;

import io.github.drakegpt.backend.Arena;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.MeasuringArena;
import io.github.drakegpt.backend.OutOfMemoryException;
import io.github.drakegpt.data.BatchSampler;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.nn.Pass;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.List;

/**
 * A model with its optimizer, and the step that trains it: draw a batch, forward, backward, AdamW.
 *
 * <p>A step's batch is split into shards. Replicas of the model, as many as the backend works on at once, share the
 * parameters and each have buffers for one shard; their gradients are added up in the order of the shards, so that the
 * result depends neither on how many replicas there are nor on which is done first. All buffers are made here; a step
 * allocates nothing.
 */
public final class TrainingStep implements TrainingListener.Step, AutoCloseable {
    private final Backend backend;
    private final ModelConfig modelConfig;
    private final TrainConfig config;
    private final char[] tokens;
    private final Arena arena;
    private final LanguageModel[] replicas;
    private final List<Pass> shards;
    private final float gradScale;
    private final BatchSampler batches;
    private final Runnable decayed;
    private final Runnable undecayed;

    private final Tensor stepNumber; // I32 (1)
    private final Tensor quantStrength; // (1), or null
    private final Tensor learningRate; // (1)
    private final Tensor gradNorm; // (1)
    private final Tensor losses; // (shards)
    private final Tensor[] lossSlots; // each (1)
    private final Tensor[] replicaGrads; // each (P)
    private final Tensor weights; // (P)
    private final Tensor grads; // (P)
    private final Tensor firstMoments; // (P)
    private final Tensor secondMoments; // (P)

    private int number;
    private double rate;

    /**
     * Builds the model with initial weights for the seed.
     *
     * @param tokens of the training split
     * @throws IllegalArgumentException if the split is too short for the model's context
     * @throws OutOfMemoryException that names the largest batch for which the device has the memory
     */
    public static TrainingStep create(Backend backend, ModelConfig modelConfig, TrainConfig config, char[] tokens) {
        Arena arena = backend.newArena();
        try {
            TrainingStep step = new TrainingStep(backend, arena, modelConfig, config, tokens);
            step.setWeights(step.parameters().initialValues(config.seed()));
            return step;
        } catch (OutOfMemoryException e) {
            arena.close();
            throw tooLarge(e, arena.available(), backend, modelConfig, config, tokens);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    private TrainingStep(Backend backend, Arena arena, ModelConfig modelConfig, TrainConfig config, char[] tokens) {
        this.backend = backend;
        this.modelConfig = modelConfig;
        this.config = config;
        this.tokens = tokens;
        this.arena = arena;
        int length = modelConfig.contextLength();
        stepNumber = arena.allocate(DType.I32, Shape.of(1));
        quantStrength = config.quantWarmupIters() > 0 ? arena.allocate(DType.F32, Shape.of(1)) : null;
        if (quantStrength != null) {
            quantStrength.write(1f);
        }
        batches = new BatchSampler(backend, arena, "training", tokens, length, stream(RandomStream.TRAIN_BATCH));

        shards = Shards.split(backend, config.gradAccum(), config.batchSize(), length);
        int largest = shards.stream().mapToInt(Pass::batch).max().orElseThrow();
        replicas = new LanguageModel[Math.min(backend.workers(), shards.size())];
        replicaGrads = new Tensor[replicas.length];
        for (int i = 0; i < replicas.length; i++) {
            LanguageModel shared = i == 0 ? null : replicas[0];
            replicas[i] = LanguageModel.forTraining(
                    modelConfig, backend, arena, largest, config.seed(), stepNumber, quantStrength, shared);
            replicaGrads[i] = replicas[i].grads();
        }
        gradScale = 1f / Math.multiplyExact(config.sequencesPerStep(), length);
        weights = replicas[0].weights();
        grads = shards.size() == 1 ? replicas[0].grads() : arena.allocate(DType.F32, weights.shape());
        firstMoments = arena.allocate(DType.F32, weights.shape());
        secondMoments = arena.allocate(DType.F32, weights.shape());
        learningRate = arena.allocate(DType.F32, Shape.of(1));
        gradNorm = arena.allocate(DType.F32, Shape.of(1));
        losses = arena.allocate(DType.F32, Shape.of(shards.size()));
        lossSlots = slots(losses);
        decayed = backend.record(arena, () -> operations(config.weightDecay()));
        undecayed = backend.record(arena, () -> operations(0));
    }

    /**
     * Adds to what the device says the largest batch that fits into {@code available} bytes, of which a twentieth is left
     * for what operations need besides and for what is lost to rounding.
     */
    private static OutOfMemoryException tooLarge(
            OutOfMemoryException e,
            long available,
            Backend backend,
            ModelConfig modelConfig,
            TrainConfig config,
            char[] tokens) {
        int fits = 0;
        int tooMany = config.batchSize();
        while (tooMany - fits > 1) {
            int batch = fits + (tooMany - fits) / 2;
            MeasuringArena measure = new MeasuringArena();
            new TrainingStep(backend, measure, modelConfig, config.withBatchSize(batch), tokens);
            if (measure.bytes() <= available / 20 * 19) {
                fits = batch;
            } else {
                tooMany = batch;
            }
        }
        String advice = fits > 0
                ? " The largest batch that fits is " + fits + ": --set train.batch_size=" + fits + "."
                : " Not even a batch of one sequence fits; choose a smaller model.";
        return new OutOfMemoryException(e.getMessage() + advice, e);
    }

    /** The elements of a vector as tensors (1). */
    static Tensor[] slots(Tensor vector) {
        Tensor[] slots = new Tensor[(int) vector.size()];
        for (int i = 0; i < slots.length; i++) {
            slots[i] = vector.slice(i, Shape.of(1));
        }
        return slots;
    }

    /** What the step draws its batches with. */
    BatchSampler batches() {
        return batches;
    }

    /** A stream of random numbers that changes with the step. */
    RandomStream stream(int purpose) {
        return new RandomStream(config.seed(), purpose, stepNumber);
    }

    /** Does step {@code number}, the first of which is 1. */
    public void run(int number) {
        this.number = number;
        rate = config.schedule().learningRate(config, number);
        stepNumber.write(number);
        learningRate.write((float) rate);
        boolean warmsUp = quantStrength != null && number < config.quantWarmupIters();
        if (warmsUp) {
            quantStrength.write((float) number / config.quantWarmupIters());
        }
        try {
            (config.schedule().decays(config, number) ? decayed : undecayed).run();
            if (warmsUp) {
                quantStrength.write(1f); // what is evaluated between steps is the model as it will be used
            }
        } catch (OutOfMemoryException e) { // scratch memory that grows in the first steps
            throw tooLarge(e, arena.bytes() + arena.available(), backend, modelConfig, config, tokens);
        }
    }

    /** What is done in every step; what changes from one to the next is read from tensors. */
    private void operations(float weightDecay) {
        for (int first = 0; first < shards.size(); first += replicas.length) {
            int from = first;
            int count = Math.min(replicas.length, shards.size() - first);
            backend.parallel(count, r -> {
                LanguageModel model = replicas[r];
                Pass pass = shards.get(from + r);
                batches.draw(pass.firstSequence(), pass.batch(), pass.length(), model.tokens(), model.targets());
                model.forwardBackward(pass, gradScale, lossSlots[from + r]);
            });
            if (shards.size() > 1) {
                backend.sum(replicaGrads, count, first > 0, grads);
            }
        }
        backend.norm(grads, gradNorm);
        backend.adamW(
                weights,
                replicas[0].factors(),
                grads,
                firstMoments,
                secondMoments,
                learningRate,
                stepNumber,
                gradNorm,
                config.adamW(weightDecay));
    }

    @Override
    public int number() {
        return number;
    }

    @Override
    public float loss() {
        float sum = 0;
        for (float loss : losses.toFloats()) {
            sum += loss;
        }
        return sum * gradScale;
    }

    @Override
    public float gradNorm() {
        return gradNorm.toFloats()[0];
    }

    @Override
    public double learningRate() {
        return rate;
    }

    /** The model's parameters: their names, shapes and places in a flat buffer. */
    public Parameters parameters() {
        return replicas[0].parameters();
    }

    /** Models that share the parameters, for passes between steps; as many as the backend works on at once. */
    LanguageModel[] replicas() {
        return replicas;
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
