package io.github.drakegpt.nn;

import io.github.drakegpt.ops.PackedWeights;
import io.github.drakegpt.ops.Philox;
import io.github.drakegpt.ops.QuantizeWeightsOp;
import io.github.drakegpt.ops.RandomStream;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.Supplier;

/**
 * All parameters of a model that are not packed, one after another in one flat buffer, so that the optimizer, the
 * gradient's norm and a checkpoint each work on a single tensor. Layers add their parameters while a model is built.
 */
public final class Parameters {
    /** Parameters begin at multiples of 64 bytes; the gaps stay zero. */
    private static final int ALIGNMENT = 16;

    private static final int INIT_CHUNK = 1024;

    /**
     * A tensor of the model's PyTorch state_dict: a part of the flat buffer.
     *
     * @param offset of the first element within the flat buffer
     */
    public record Entry(String name, Shape shape, long offset) {}

    /**
     * The flat buffers, of {@link #size} elements.
     *
     * @param values F32
     * @param matmulWeights the same in the precision of the model's matrix products; may be {@code values}
     * @param grads the gradients, F32; null if the model is not trained
     */
    public record Buffers(Tensor values, Tensor matmulWeights, Tensor grads) {}

    private final Buffers buffers; // or null
    private final Parameters shared; // or null
    private final List<Parameter> parameters = new ArrayList<>();
    private final List<Entry> entries = new ArrayList<>();
    private final List<Packed> packed = new ArrayList<>();
    private final List<Constant> constants = new ArrayList<>();
    private final List<QuantizeWeightsOp> roundings = new ArrayList<>();
    private long size;
    private long count;

    /**
     * A tensor that PyTorch's state_dict has and nothing trains, such as the causal mask.
     *
     * @param values computes its elements
     */
    public record Constant(String name, Shape shape, Supplier<float[]> values) {}

    /**
     * A weight that is packed, and so not in the flat buffer.
     *
     * @param parts the tensors of PyTorch's state_dict that it consists of, stacked along the first dimension
     * @param each the shape of a part
     */
    public record Packed(String name, List<String> parts, Shape each, PackedWeights weights) {}

    private Parameters(Buffers buffers, Parameters shared) {
        this.buffers = buffers;
        this.shared = shared;
    }

    /** Counts the parameters of a model; nothing can run on their tensors. */
    public static Parameters counting() {
        return new Parameters(null, null);
    }

    /**
     * Parameters in buffers of the size that was counted.
     *
     * @param shared the parameters of a model of the same configuration and use, whose packed or rounded weights to
     *     share; or null
     */
    public static Parameters in(Buffers buffers, Parameters shared) {
        return new Parameters(buffers, shared);
    }

    Parameter add(String name, Init.Distribution init, int... dims) {
        return addMerged(List.of(name), Shape.of(dims), init, Shape.of(dims));
    }

    /**
     * Adds one parameter that PyTorch keeps as several of equal shape, stacked along the first dimension: multiplied
     * together here, saved under their own names.
     */
    Parameter addMerged(List<String> names, Shape each, Init.Distribution init, Shape merged) {
        Parameter parameter = parameter(merged, init);
        parameters.add(parameter);
        for (int i = 0; i < names.size(); i++) {
            entries.add(new Entry(names.get(i), each, size + i * each.size()));
        }
        count += merged.size();
        size = (size + merged.size() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        return parameter;
    }

    private Parameter parameter(Shape shape, Init.Distribution init) {
        if (buffers == null) {
            Arena nowhere = new MeasuringArena();
            Tensor value = nowhere.allocate(DType.F32, shape);
            return new Parameter(size, init, value, value, nowhere.allocate(DType.F32, shape));
        }
        Tensor grads = buffers.grads();
        return new Parameter(
                size,
                init,
                buffers.values().slice(size, shape),
                buffers.matmulWeights().slice(size, shape),
                grads == null ? null : grads.slice(size, shape));
    }

    /** Whether packed and rounded weights are shared with another model. */
    boolean shares() {
        return shared != null;
    }

    /** The other model's packed weight that corresponds to the next one here. */
    PackedWeights nextShared() {
        return shared.packed.get(packed.size()).weights();
    }

    void addPacked(Packed weight) {
        packed.add(weight);
        count += weight.parts().size() * weight.each().size();
    }

    /** The other model's rounding that corresponds to the next one here. */
    QuantizeWeightsOp nextSharedRounding() {
        return shared.roundings.get(roundings.size());
    }

    void addRounding(QuantizeWeightsOp rounding) {
        roundings.add(rounding);
    }

    void addConstant(String name, Shape shape, Supplier<float[]> values) {
        constants.add(new Constant(name, shape, values));
    }

    /** Elements of the flat buffer, the gaps between parameters included. */
    public long size() {
        return size;
    }

    /** Number of trained values, packed ones too. */
    public long count() {
        return count;
    }

    /** The model's state_dict, except {@link #packed} and {@link #constants}. */
    public List<Entry> entries() {
        return Collections.unmodifiableList(entries);
    }

    /** Its packed weights. */
    public List<Packed> packed() {
        return Collections.unmodifiableList(packed);
    }

    /** The rest of the model's state_dict. */
    public List<Constant> constants() {
        return Collections.unmodifiableList(constants);
    }

    /** What rounds the weights of a quantized model that is trained, before a pass multiplies with them. */
    public List<QuantizeWeightsOp> roundings() {
        return Collections.unmodifiableList(roundings);
    }

    /** Initial values for a seed: element i depends only on the seed and on i. */
    public float[] initialValues(long seed) {
        float[] values = new float[Math.toIntExact(size)];
        Philox.Lanes lanes = new Philox.Lanes();
        int[] words = new int[2 * INIT_CHUNK];
        for (Parameter parameter : parameters) {
            for (long done = 0; done < parameter.value().size(); done += INIT_CHUNK) {
                int n = (int) Math.min(INIT_CHUNK, parameter.value().size() - done);
                int from = (int) (parameter.offset() + done);
                // two words for each element, and offsets are even: element i has words 2i and 2i + 1
                Philox.fill(seed, RandomStream.INIT, 0, from / 2, (n + 1) / 2, lanes, words);
                for (int i = 0; i < n; i++) {
                    values[from + i] =
                            parameter.init().value(Philox.uniform(words[2 * i]), Philox.uniform(words[2 * i + 1]));
                }
            }
        }
        return values;
    }
}
