package io.github.drakegpt.model;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.nn.Activation;
import io.github.drakegpt.nn.LayerContext;
import io.github.drakegpt.nn.LayerContext.Capacity;
import io.github.drakegpt.nn.LayerContext.Use;
import io.github.drakegpt.nn.MeasuringArena;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.ops.CopyOp;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.QuantizeWeightsOp;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.List;

/**
 * A model that predicts the next token at every place of a sequence. It reads {@link #tokens} and writes {@link #logits};
 * all its buffers are made when it is built, for the largest pass.
 */
public abstract class LanguageModel {
    private final ModelConfig config;
    private final Parameters parameters;
    private final Tensor tokens;
    private final Tensor targets;
    private final Activation output;
    private final Tensor position;
    private Backend backend;
    private Parameters.Buffers buffers;

    /** Each model calls this first, then adds its layers. */
    LanguageModel(ModelConfig config, LayerContext context) {
        this.config = config;
        this.parameters = context.parameters();
        int batch = context.capacity().batch();
        int length = context.capacity().context();
        this.tokens = context.allocate(DType.I32, batch, length);
        this.targets = context.allocate(DType.I32, batch, length);
        Tensor logits = context.rows(DType.F32, config.vocabSize());
        boolean inPlace = context.activations() == DType.F32;
        this.output = new Activation(
                logits,
                context.capacity().use() != Use.TRAINING
                        ? null
                        : inPlace ? logits : context.activation(config.vocabSize()));
        this.position = context.position();
    }

    /**
     * Builds a model for training.
     *
     * @param arena where its buffers are allocated
     * @param batch the most sequences of a pass
     * @param sharing another model made by this method from the same configuration, to share its weights; null for weights
     *     of its own
     */
    public static LanguageModel forTraining(
            ModelConfig config,
            Backend backend,
            Arena arena,
            int batch,
            LayerContext.Training training,
            LanguageModel sharing) {
        return build(
                config, backend, arena, new Capacity(batch, config.contextLength(), Use.TRAINING), training, sharing);
    }

    /**
     * Builds a model that computes logits and losses of up to {@code batch} sequences at once.
     *
     * @param sharing as above
     */
    public static LanguageModel forEvaluation(
            ModelConfig config, Backend backend, Arena arena, int batch, LanguageModel sharing) {
        return build(
                config, backend, arena, new Capacity(batch, config.contextLength(), Use.EVALUATION), null, sharing);
    }

    /**
     * Builds a model that continues up to {@code batch} sequences at once, with a cache of keys and values.
     *
     * @param sharing as above
     */
    public static LanguageModel forGeneration(
            ModelConfig config, Backend backend, Arena arena, int batch, LanguageModel sharing) {
        return build(
                config, backend, arena, new Capacity(batch, config.contextLength(), Use.GENERATION), null, sharing);
    }

    /** The parameters that a model of this configuration trains: their names, shapes and places; no memory is taken. */
    public static Parameters parametersOf(ModelConfig config) {
        return parametersOf(config, Use.TRAINING);
    }

    /** The parameters of a model that is not trained: in a quantized one, matrices are packed. */
    public static Parameters inferenceParametersOf(ModelConfig config) {
        return parametersOf(config, Use.EVALUATION);
    }

    private static Parameters parametersOf(ModelConfig config, Use use) {
        Arena nowhere = new MeasuringArena();
        LayerContext.Training training = use == Use.TRAINING
                ? new LayerContext.Training(0, nowhere.allocate(DType.I32, Shape.of(1)), null)
                : null;
        Parameters counted = Parameters.counting();
        Capacity one = new Capacity(1, config.contextLength(), use);
        Models.build(config, new LayerContext(nowhere, one, numerics(config, DType.F32), training, counted));
        if (counted.size() > Integer.MAX_VALUE) {
            throw new IllegalArgumentException("The model would have " + counted.size() + " weights, of which "
                    + Integer.MAX_VALUE + " are possible; lower model.embedding_dim or model.num_layers.");
        }
        return counted;
    }

    private static LayerContext.Numerics numerics(ModelConfig config, DType activations) {
        return new LayerContext.Numerics(config.init(), config.quant(), activations);
    }

    private static LanguageModel build(
            ModelConfig config,
            Backend backend,
            Arena arena,
            Capacity capacity,
            LayerContext.Training training,
            LanguageModel sharing) {
        LayerContext.Numerics numerics = numerics(config, backend.activations());
        Parameters.Buffers buffers = buffers(config, arena, capacity.use(), numerics.activations(), sharing);
        Parameters parameters = Parameters.in(buffers, sharing == null ? null : sharing.parameters);
        LanguageModel model = Models.build(config, new LayerContext(arena, capacity, numerics, training, parameters));
        model.backend = backend;
        model.buffers = buffers;
        return model;
    }

    private static Parameters.Buffers buffers(
            ModelConfig config, Arena arena, Use use, DType activations, LanguageModel sharing) {
        Shape flat = sharing == null
                ? Shape.of(Math.toIntExact(parametersOf(config, use).size()))
                : sharing.weights().shape();
        Tensor grads = use == Use.TRAINING ? arena.allocate(DType.F32, flat) : null;
        if (sharing != null) {
            return new Parameters.Buffers(sharing.weights(), sharing.matmulWeights(), grads);
        }
        Tensor values = arena.allocate(DType.F32, flat);
        boolean packs = config.quant() != Quantization.NONE && use != Use.TRAINING;
        boolean rounds = activations != DType.F32 && !packs;
        return new Parameters.Buffers(values, rounds ? arena.allocate(activations, flat) : values, grads);
    }

    /**
     * Overwrites the weights of a model that is not trained.
     *
     * @throws IllegalArgumentException if they belong to another configuration
     */
    public final void load(Weights from) {
        // Usually the same object: Java generates a record's comparison at its first use, which takes 20 ms.
        if (from.config() != config && !from.config().equals(config)) {
            throw new IllegalArgumentException("The weights are those of " + from.config() + ", not of " + config
                    + "; build the model from their configuration.");
        }
        setWeights(from.flat());
        parameters
                .packed()
                .forEach(packed -> packed.weights().write(from.packed().get(packed.name())));
    }

    /**
     * Overwrites the flat buffer of all parameters that are not packed, and its copy in the precision of matrix
     * products.
     */
    public final void setWeights(float[] flat) {
        weights().write(flat);
        if (matmulWeights() != weights()) {
            backend.copy(new CopyOp(weights(), matmulWeights()));
        }
    }

    /**
     * Rounds the weights of a quantized model that is trained, as they are now: passes that follow multiply with these,
     * also those of models that share the weights. Nothing to do for any other model.
     */
    public final void roundWeights() {
        List<QuantizeWeightsOp> roundings = parameters.roundings();
        backend.parallel(roundings.size(), i -> backend.quantizeWeights(roundings.get(i)));
    }

    /** Writes logits (B, T, V) for tokens (B, T). */
    public abstract void forward(Operations ops, Pass pass);

    /** Writes all gradients from that of the logits. */
    abstract void backward(Operations ops, Pass pass);

    /**
     * The loss of a pass that {@link #forwardBackward} trains with.
     *
     * @param loss F32 (1), becomes the sum of the losses of all tokens, in nats
     * @param gradScale {@link #grads} becomes the gradient of that sum, times this
     */
    public final CrossEntropyOp trainingLoss(Tensor loss, float gradScale) {
        return new CrossEntropyOp(output.value(), targets, loss, output.grad(), gradScale);
    }

    /**
     * The loss of a pass that {@link #forwardLoss} measures.
     *
     * @param loss F32 (1), becomes the sum of the losses of all tokens, in nats
     */
    public final CrossEntropyOp evaluationLoss(Tensor loss) {
        return new CrossEntropyOp(output.value(), targets, loss, null, 0);
    }

    /** Forward and backward pass of {@link #tokens} and {@link #targets}. The logits may be overwritten. */
    public final void forwardBackward(Operations ops, CrossEntropyOp trainingLoss, Pass pass) {
        forward(ops, pass);
        ops.crossEntropy(trainingLoss, pass);
        backward(ops, pass);
    }

    /** Forward pass and loss only. */
    public final void forwardLoss(Operations ops, CrossEntropyOp evaluationLoss, Pass pass) {
        forward(ops, pass);
        ops.crossEntropy(evaluationLoss, pass);
    }

    public final ModelConfig config() {
        return config;
    }

    public final Parameters parameters() {
        return parameters;
    }

    /** The flat buffer of all parameters that are not packed; {@link #setWeights} changes it. */
    public final Tensor weights() {
        return buffers.values();
    }

    /** The same in the precision of matrix products; {@link #weights} itself where that is F32. */
    public final Tensor matmulWeights() {
        return buffers.matmulWeights();
    }

    /** The flat buffer of their gradients; null in a model that is not trained. */
    public final Tensor grads() {
        return buffers.grads();
    }

    /** Input: I32, the first rows of which a pass reads as (B, T). */
    public final Tensor tokens() {
        return tokens;
    }

    /** The token that follows each token: I32, laid out as {@link #tokens}. */
    public final Tensor targets() {
        return targets;
    }

    /**
     * Overwrites the first tokens of {@link #tokens}.
     *
     * @throws IllegalArgumentException if one is not in the vocabulary
     */
    public final void writeTokens(int[] ids) {
        requireKnown(ids);
        tokens.write(ids);
    }

    /**
     * Overwrites the first tokens of {@link #targets}.
     *
     * @throws IllegalArgumentException if one is not in the vocabulary
     */
    public final void writeTargets(int[] ids) {
        requireKnown(ids);
        targets.write(ids);
    }

    /** A GPU would read beside its tables for other tokens; the host sees them first. */
    private void requireKnown(int[] ids) {
        for (int id : ids) {
            if (id < 0 || id >= config.vocabSize()) {
                throw new IllegalArgumentException("Token " + id + " is not in the model's vocabulary of "
                        + config.vocabSize() + "; encode texts with the run's own tokenizer.");
            }
        }
    }

    /** Input of a cached pass: I32 (1), where the tokens begin in their sequences; null in a model without a cache. */
    public final Tensor position() {
        return position;
    }

    /** The logits and their gradient, which the last layer writes and reads. */
    final Activation output() {
        return output;
    }

    /** Output of a forward pass: (B, T, V) in the first rows. */
    public final Tensor logits() {
        return output.value();
    }
}
