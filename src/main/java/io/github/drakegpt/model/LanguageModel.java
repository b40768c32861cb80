package io.github.drakegpt.model;

import io.github.drakegpt.backend.Arena;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.MeasuringArena;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.nn.LayerContext.Capacity;
import io.github.drakegpt.nn.LayerContext.Use;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.nn.Pass;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;

/**
 * A model that predicts the next token at every place of a sequence. It reads {@link #tokens} and writes {@link #logits};
 * all its buffers are made when it is built, for the largest pass.
 */
public abstract class LanguageModel {
    private final ModelConfig config;
    private final Backend backend;
    private final Parameters parameters;
    private final Tensor tokens;
    private final Tensor targets;
    private final Tensor logits;
    private final Tensor dlogits;
    private final Tensor position;
    private Tensor weights;
    private Tensor factors;
    private Tensor grads;

    /** Called by each model first; its layers follow. */
    LanguageModel(ModelConfig config, LayerContext context) {
        this.config = config;
        this.backend = context.backend();
        this.parameters = context.parameters();
        int batch = context.capacity().batch();
        int length = context.capacity().context();
        this.tokens = context.allocate(DType.I32, batch, length);
        this.targets = context.allocate(DType.I32, batch, length);
        this.logits = context.rows(DType.F32, config.vocabSize());
        this.dlogits = context.capacity().use() == Use.TRAINING && context.activations() != DType.F32
                ? context.activation(config.vocabSize())
                : logits;
        this.position = context.position();
    }

    /**
     * Builds a model for training.
     *
     * @param arena where its buffers are allocated
     * @param batch the most sequences of a pass
     * @param seed of the dropout masks
     * @param step I32 tensor (1) that the masks change with
     * @param strength (1): how much of the rounding of a quantized model is applied, from 0 to 1; null for all of it
     * @param sharing another model made by this method from the same configuration, to share its weights; null for weights
     *     of its own
     */
    public static LanguageModel forTraining(
            ModelConfig config,
            Backend backend,
            Arena arena,
            int batch,
            long seed,
            Tensor step,
            Tensor strength,
            LanguageModel sharing) {
        return build(config, backend, arena, batch, Use.TRAINING, seed, step, strength, sharing);
    }

    /**
     * Builds a model that computes logits and losses of up to {@code batch} sequences at once.
     *
     * @param sharing as above
     */
    public static LanguageModel forEvaluation(
            ModelConfig config, Backend backend, Arena arena, int batch, LanguageModel sharing) {
        return build(config, backend, arena, batch, Use.EVALUATION, 0, null, null, sharing);
    }

    /**
     * Builds a model that continues up to {@code batch} sequences at once, with a cache of keys and values.
     *
     * @param sharing as above
     */
    public static LanguageModel forGeneration(
            ModelConfig config, Backend backend, Arena arena, int batch, LanguageModel sharing) {
        return build(config, backend, arena, batch, Use.GENERATION, 0, null, null, sharing);
    }

    /** The parameters that a model of this configuration trains: their names, shapes and places; no memory is taken. */
    public static Parameters parametersOf(ModelConfig config) {
        return forTraining(config, null, new MeasuringArena(), 1, 0, null, null, null)
                .parameters();
    }

    /** Those that it has when nothing is trained: in a quantized model, matrices are packed. */
    public static Parameters inferenceParametersOf(ModelConfig config) {
        return forEvaluation(config, null, new MeasuringArena(), 1, null).parameters();
    }

    private static LanguageModel build(
            ModelConfig config,
            Backend backend,
            Arena arena,
            int batch,
            Use use,
            long seed,
            Tensor step,
            Tensor strength,
            LanguageModel sharing) {
        LayerContext context = new LayerContext(
                backend,
                arena,
                new Capacity(batch, config.contextLength(), use),
                config.init(),
                config.quant(),
                seed,
                step,
                strength,
                sharing == null ? null : sharing.parameters);
        LanguageModel model = Models.build(config, context);
        Shape flat = Shape.of(Math.toIntExact(model.parameters.size()));
        if (sharing != null) {
            model.weights = sharing.weights;
            model.factors = sharing.factors;
        } else {
            model.weights = arena.allocate(DType.F32, flat);
            DType type = context.activations();
            model.factors = type == DType.F32 ? model.weights : arena.allocate(type, flat);
        }
        model.grads = use == Use.TRAINING ? arena.allocate(DType.F32, flat) : null;
        model.parameters.bind(model.weights, model.factors, model.grads);
        return model;
    }

    /**
     * Overwrites the weights of a model that is not trained.
     *
     * @throws IllegalArgumentException if they belong to another configuration
     */
    public final void load(Weights from) {
        // The same object, as a rule: Java makes a record's comparison at its first use, which takes 20 ms.
        if (from.config() != config && !from.config().equals(config)) {
            throw new IllegalArgumentException("The weights are those of " + from.config() + ", not of " + config
                    + "; build the model from their configuration.");
        }
        setWeights(from.flat());
        parameters
                .packed()
                .forEach(packed -> packed.weights().write(from.packed().get(packed.name())));
    }

    /** Overwrites the flat buffer of all parameters that are not packed, and what is made of it. */
    public final void setWeights(float[] flat) {
        weights.write(flat);
        if (factors != weights) {
            backend.copy(weights, factors, flat.length);
        }
    }

    /** Writes logits (B, T, V) for tokens (B, T). */
    public abstract void forward(Pass pass);

    /** Writes all gradients; {@link #dlogits} holds the gradient of the logits. */
    abstract void backward(Pass pass);

    /**
     * Forward and backward pass of {@link #tokens} and {@link #targets}. The logits may be overwritten.
     *
     * @param gradScale {@link #grads} becomes the gradient of the sum of the losses of all tokens, times this
     * @param loss F32 (1), becomes that sum, in nats
     */
    public final void forwardBackward(Pass pass, float gradScale, Tensor loss) {
        forward(pass);
        backend.crossEntropy(logits, targets, loss, dlogits, gradScale, pass.rows(), config.vocabSize());
        backward(pass);
    }

    /** Forward pass only: loss F32 (1) becomes the sum of the losses of all tokens, in nats. */
    public final void forwardLoss(Pass pass, Tensor loss) {
        forward(pass);
        backend.crossEntropy(logits, targets, loss, null, 0, pass.rows(), config.vocabSize());
    }

    public final ModelConfig config() {
        return config;
    }

    public final Backend backend() {
        return backend;
    }

    public final Parameters parameters() {
        return parameters;
    }

    /** The flat buffer of all parameters that are not packed; {@link #setWeights} changes it. */
    public final Tensor weights() {
        return weights;
    }

    /** The same as matrix products take them, in the precision of the model; {@link #weights} itself where that is F32. */
    public final Tensor factors() {
        return factors;
    }

    /** The flat buffer of their gradients; null in a model that is not trained. */
    public final Tensor grads() {
        return grads;
    }

    /** Input: I32, the first rows of which a pass reads as (B, T). */
    public final Tensor tokens() {
        return tokens;
    }

    /** What follows each token: I32, laid out as {@link #tokens}. */
    public final Tensor targets() {
        return targets;
    }

    /** Input of a cached pass: I32 (1), where the tokens begin in their sequences; null in a model without a cache. */
    public final Tensor position() {
        return position;
    }

    /** The gradient of the logits in a backward pass, laid out as they are. */
    final Tensor dlogits() {
        return dlogits;
    }

    /** Output of a forward pass: (B, T, V) in the first rows. */
    public final Tensor logits() {
        return logits;
    }
}
