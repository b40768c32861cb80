package io.github.drakegpt.nn;

import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.ops.QuantizeWeightsOp;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Allocates the parameters of layers, and buffers for the largest pass. */
public final class LayerContext {
    private final Arena arena;
    private final Capacity capacity;
    private final Numerics numerics;
    private final Training training;
    private final Parameters parameters;
    private final Tensor position;
    private final Map<String, Tensor> scratch = new HashMap<>();
    private final Map<Integer, Int8Rows> int8Scratch = new HashMap<>();
    private int dropouts;

    /** The passes that a model's buffers are made for. */
    public enum Use {
        /** Forward and backward passes. */
        TRAINING,
        /** Forward passes. */
        EVALUATION,
        /** Forward passes with a cache of keys and values. */
        GENERATION
    }

    /** The largest pass: {@code batch} sequences of up to {@code context} tokens. */
    public record Capacity(int batch, int context, Use use) {
        int rows() {
            return Math.multiplyExact(batch, context);
        }
    }

    /**
     * Initialization, and the number formats of the computation.
     *
     * @param quantization of the layers that can be quantized
     * @param activations the type of activations and their gradients, F32 or BF16
     */
    public record Numerics(Init init, Quantization quantization, DType activations) {}

    /**
     * The values that change during training: random masks and the strength of rounding.
     *
     * @param seed of dropout masks
     * @param step I32 (1), on which the masks depend
     * @param strength (1), from 0 to 1: the fraction of the rounding that is applied; null for 1
     */
    public record Training(long seed, Tensor step, Tensor strength) {}

    /**
     * @param training null if nothing is trained
     * @param parameters collects those of the layers
     */
    public LayerContext(Arena arena, Capacity capacity, Numerics numerics, Training training, Parameters parameters) {
        this.arena = arena;
        this.capacity = capacity;
        this.numerics = numerics;
        this.training = training;
        this.parameters = parameters;
        this.position = capacity.use() == Use.GENERATION ? allocate(DType.I32, 1) : null;
    }

    public Capacity capacity() {
        return capacity;
    }

    /** The parameters of the layers built so far. */
    public Parameters parameters() {
        return parameters;
    }

    /** I32 (1): where in their sequences the tokens of a cached pass begin; null in a model without a cache. */
    public Tensor position() {
        return position;
    }

    Init init() {
        return numerics.init();
    }

    Quantization quantization() {
        return numerics.quantization();
    }

    boolean training() {
        return capacity.use() == Use.TRAINING;
    }

    /** Whether layers that can be quantized compute with packed weights and 8-bit rows. */
    boolean packed() {
        return quantization() != Quantization.NONE && !training();
    }

    /** The type of activations and their gradients. With packed weights it is F32, the type of their products. */
    public DType activations() {
        return packed() ? DType.F32 : numerics.activations();
    }

    Tensor strength() {
        return training == null ? null : training.strength();
    }

    /** Adds a packed weight to the parameters. */
    PackedWeights packedWeights(Quantization quantization, String name, List<String> parts, Shape each) {
        PackedWeights weights = parameters.shares()
                ? parameters.nextShared()
                : PackedWeights.allocate(arena, quantization, each.dim(0) * parts.size(), each.dim(1));
        parameters.addPacked(new Parameters.Packed(name, parts, each, weights));
        return weights;
    }

    /**
     * A buffer for rows of {@code in} elements rounded to 8 bits, shared by all layers of that width: each is done with
     * them before the next one writes.
     */
    Int8Rows int8Scratch(int in) {
        return int8Scratch.computeIfAbsent(
                PackedMatrix.paddedColumns(quantization(), in),
                stride -> Int8Rows.allocate(arena, quantization(), capacity.rows(), in));
    }

    /** A buffer that keeps its content from the forward to the backward pass: (rows, perRow). */
    public Tensor activation(int perRow) {
        return rows(activations(), perRow);
    }

    /**
     * The same for a model that is trained. Otherwise a buffer shared by all layers that name the same use: each has
     * read its input before it writes its output there.
     */
    public Tensor activation(String use, int perRow) {
        return training() ? activation(perRow) : scratch(use, perRow);
    }

    /** The same in F32, for values that are never rounded. */
    Tensor statistics(String use, int perRow) {
        return training()
                ? rows(DType.F32, perRow)
                : scratch.computeIfAbsent(use + ' ' + perRow, key -> rows(DType.F32, perRow));
    }

    /** A buffer (rows, perRow) of a type. */
    public Tensor rows(DType dtype, int perRow) {
        return arena.allocate(dtype, Shape.of(capacity.rows(), perRow));
    }

    /** A buffer of another shape or type. */
    public Tensor allocate(DType dtype, int... dims) {
        return arena.allocate(dtype, Shape.of(dims));
    }

    Tensor allocate(Shape shape) {
        return arena.allocate(activations(), shape);
    }

    /**
     * Where a weight is rounded to before the passes that multiply with it; models that share the weight share this too.
     *
     * @param matrices of which the weight consists, each rounded with a scale of its own
     */
    Tensor roundedWeight(Parameter weight, Quantization quantization, int matrices) {
        Tensor value = weight.value();
        QuantizeWeightsOp rounding = parameters.shares()
                ? parameters.nextSharedRounding()
                : new QuantizeWeightsOp(value, quantization, matrices, strength(), allocate(value.shape()));
        parameters.addRounding(rounding);
        return rounding.q();
    }

    /** A buffer (rows, perRow) shared by all layers that name the same use: its content does not outlive a call. */
    public Tensor scratch(String use, int perRow) {
        return scratch.computeIfAbsent(use + ' ' + perRow, key -> activation(perRow));
    }

    /**
     * A buffer for gradients (rows, perRow), shared by all layers that name the same use; null in a model that is not
     * trained.
     */
    public Tensor gradient(String use, int perRow) {
        return training() ? scratch(use, perRow) : null;
    }

    /** The output of a norm before a quantizable layer: rounded to 8 bits where weights are packed. */
    Activation beforeQuantizable(Tensor value, Tensor grad) {
        return new Activation(value, grad, packed() ? int8Scratch(value.shape().columns()) : null);
    }

    /** The next dropout of the model, with its own masks; null if nothing is dropped. */
    Dropout dropout(float probability) {
        int site = dropouts++;
        return training() && probability > 0
                ? new Dropout(
                        probability, new RandomStream(training.seed(), RandomStream.dropout(site), training.step()))
                : null;
    }
}
