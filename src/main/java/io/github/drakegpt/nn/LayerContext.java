package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Arena;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Dropout;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.RandomStream;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.HashMap;
import java.util.Map;

/** What layers are built from: the backend, the model's parameters, and buffers for the largest pass that will be run. */
public final class LayerContext {
    private final Backend backend;
    private final Arena arena;
    private final Capacity capacity;
    private final Init init;
    private final Quantization quantization;
    private final long seed;
    private final Tensor step;
    private final Tensor position;
    private final Parameters parameters = new Parameters();
    private final Map<String, Tensor> scratch = new HashMap<>();
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
     * @param quantization of the layers that can be quantized
     * @param seed of the dropout masks
     * @param step I32 tensor (1) that the masks change with; null if nothing is trained
     */
    public LayerContext(
            Backend backend,
            Arena arena,
            Capacity capacity,
            Init init,
            Quantization quantization,
            long seed,
            Tensor step) {
        this.backend = backend;
        this.arena = arena;
        this.capacity = capacity;
        this.init = init;
        this.quantization = quantization;
        this.seed = seed;
        this.step = step;
        this.position = capacity.use() == Use.GENERATION ? allocate(DType.I32, 1) : null;
    }

    public Backend backend() {
        return backend;
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
        return init;
    }

    Quantization quantization() {
        return quantization;
    }

    boolean training() {
        return capacity.use() == Use.TRAINING;
    }

    /** A buffer that keeps its content from the forward to the backward pass: (rows, perRow). */
    public Tensor activation(int perRow) {
        return arena.allocate(DType.F32, Shape.of(capacity.rows(), perRow));
    }

    /** A buffer of another shape or type. */
    public Tensor allocate(DType dtype, int... dims) {
        return arena.allocate(dtype, Shape.of(dims));
    }

    Tensor allocate(Shape shape) {
        return arena.allocate(DType.F32, shape);
    }

    /** A buffer (rows, perRow) that all layers which ask for the same use share: its content does not outlive a call. */
    public Tensor scratch(String use, int perRow) {
        return scratch.computeIfAbsent(use + ' ' + perRow, key -> activation(perRow));
    }

    /** The next dropout of the model, with masks of its own; null if there is nothing to drop. */
    Dropout dropout(float probability) {
        int site = dropouts++;
        return training() && probability > 0
                ? new Dropout(probability, new RandomStream(seed, RandomStream.dropout(site), step))
                : null;
    }
}
