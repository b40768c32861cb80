package io.github.drakegpt.nn;

import io.github.drakegpt.ops.Dropout;
import io.github.drakegpt.ops.Int8Rows;
import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What layers are built from: the model's parameters, and buffers for the largest pass that will be run. */
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

    /** What a model's buffers are made for. */
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
     * How weights begin, and what is computed with.
     *
     * @param quantization of the layers that can be quantized
     * @param activations the type of activations and their gradients, F32 or BF16
     */
    public record Numerics(Init init, Quantization quantization, DType activations) {}

    /**
     * What training draws masks with, and how far it rounds.
     *
     * @param seed of the dropout masks
     * @param step I32 (1) that the masks change with
     * @param strength (1): how much of the rounding is applied, from 0 to 1; null for all of it
     */
    public record Training(long seed, Tensor step, Tensor strength) {}

    /**
     * @param training null if nothing is trained
     * @param parameters to which the layers add theirs
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

    /** The parameters that the layers built so far have added. */
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

    /** What activations and their gradients are kept in. With packed weights that is F32, what their products give. */
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
     * Room for rows of {@code in} elements rounded to 8 bits, which all layers that take so many share: each computes with
     * them before the next ones are written.
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
     * The same where the model is trained. Elsewhere all layers that name the same use share it: a layer is done with what
     * the one before has left there before it writes its own.
     */
    public Tensor activation(String use, int perRow) {
        return training() ? activation(perRow) : scratch(use, perRow);
    }

    /** The same in F32, for what is never rounded. */
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

    /** A buffer (rows, perRow) that all layers which ask for the same use share: its content does not outlive a call. */
    public Tensor scratch(String use, int perRow) {
        return scratch.computeIfAbsent(use + ' ' + perRow, key -> activation(perRow));
    }

    /** A buffer for gradients (rows, perRow) that all layers which ask for the same use share; null where nothing is trained. */
    public Tensor gradient(String use, int perRow) {
        return training() ? scratch(use, perRow) : null;
    }

    /** What a norm before a layer that can be quantized gives: rounded to 8 bits where weights are packed. */
    Activation beforeQuantizable(Tensor value, Tensor grad) {
        return new Activation(value, grad, packed() ? int8Scratch(value.shape().columns()) : null);
    }

    /** The next dropout of the model, with masks of its own; null if there is nothing to drop. */
    Dropout dropout(float probability) {
        int site = dropouts++;
        return training() && probability > 0
                ? new Dropout(
                        probability, new RandomStream(training.seed(), RandomStream.dropout(site), training.step()))
                : null;
    }
}
