package io.github.drakegpt;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.NativeFolder;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.CrossEntropyOp;
import io.github.drakegpt.ops.LayerNormGradOp;
import io.github.drakegpt.ops.LayerNormOp;
import io.github.drakegpt.ops.LinearGradOp;
import io.github.drakegpt.ops.LinearOp;
import io.github.drakegpt.ops.Operation;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.RmsNormGradOp;
import io.github.drakegpt.ops.RmsNormOp;
import io.github.drakegpt.ops.SoftmaxGradOp;
import io.github.drakegpt.ops.SoftmaxOp;
import io.github.drakegpt.ops.ZeroOp;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Precision;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.nio.file.Path;

/**
 * An NVIDIA GPU or the CPU: memory, and the operations of GPTs on it, forward and backward.
 *
 * <pre>{@code
 * try (Device device = Device.open(); Arena arena = device.newArena()) {
 *     Tensor x = arena.allocate(DType.F32, 2, 4);
 *     x.write(1f, 2, 3, 4, 1, 1, 1, 1);
 *     device.softmax(x, x);
 *     float[] probabilities = x.toFloats();
 * }
 * }</pre>
 *
 * <p><b>Threads.</b> Any thread may call any method at any time, and gets the result that it would get alone. On the CPU
 * an operation runs on the thread that calls it; on a GPU it is asynchronous, in the order of the calls, and reading a
 * tensor waits for it.
 *
 * <p><b>Operands.</b> Tensors are row-major; B is a batch, T the tokens of a sequence, C channels, and rows stands for all
 * leading dimensions: (B, T, C) is (rows, C). Sizes come from the shapes. Activations and their gradients are F32 or BF16,
 * all of an operation alike; parameters, their gradients and statistics are F32. Outputs and gradients are overwritten.
 * All operands lie on this device, and what is written overlaps with no other operand, except where that is said.
 * Otherwise an {@link IllegalArgumentException} names the operands and says what is wanted, and nothing is written.
 */
public final class Device implements AutoCloseable {
    private final Backend backend;

    Device(Backend backend) {
        this.backend = backend;
    }

    /**
     * Opens the first NVIDIA GPU if there is one that can be used, or the CPU.
     *
     * @return the device, in float32
     */
    public static Device open() {
        return builder().open();
    }

    /**
     * Opens a device by its name.
     *
     * @param name {@code cuda}, {@code cpu}, or {@code auto} for what {@link #open()} opens
     * @return the device, in float32
     * @throws IllegalArgumentException if there is no such device, or it cannot be used; the message has the reason
     */
    public static Device open(String name) {
        return builder().name(name).open();
    }

    /**
     * Begins to choose a device.
     *
     * @return a builder with the defaults
     */
    public static Builder builder() {
        return new Builder();
    }

    /** What a device is opened with. */
    public static final class Builder {
        private String name = "auto";
        private int threads = Runtime.getRuntime().availableProcessors();
        private Precision precision = Precision.FP32;
        private Precision fallback;
        private Path cacheFolder;

        private Builder() {}

        /**
         * The device.
         *
         * @param name {@code cuda}, {@code cpu}, or {@code auto}, the default: the GPU if it can be used
         * @return this
         */
        public Builder name(String name) {
            this.name = name;
            return this;
        }

        /**
         * Threads that training, scoring and large products use on a CPU; a GPU ignores them.
         *
         * @param threads 1 or more; by default all processors
         * @return this
         */
        public Builder threads(int threads) {
            this.threads = threads;
            return this;
        }

        /**
         * Precision of models. Single operations go by the types of their operands.
         *
         * @param precision FP32 by default
         * @return this
         */
        public Builder precision(Precision precision) {
            this.precision = precision;
            return this;
        }

        /**
         * Precision to take if the device does not have the one asked for; without this, that is an error.
         *
         * @param precision that every device has, such as FP32
         * @return this
         */
        public Builder orElse(Precision precision) {
            this.fallback = precision;
            return this;
        }

        /**
         * The folder below which native libraries are unpacked. A process loads them once, so the first device that it
         * opens decides.
         *
         * @param folder by default {@code XDG_CACHE_HOME}, or {@code .cache} in the user's home
         * @return this
         */
        public Builder cacheFolder(Path folder) {
            this.cacheFolder = folder;
            return this;
        }

        /**
         * Opens the device.
         *
         * @return the device; {@link Device#precision()} says which precision it has
         * @throws IllegalArgumentException if there is no such device, it cannot be used, or not with these options
         */
        public Device open() {
            if (cacheFolder != null) {
                NativeFolder.useCache(cacheFolder);
            }
            try {
                return open(precision);
            } catch (IllegalArgumentException e) {
                if (fallback == null || fallback == precision) {
                    throw e;
                }
                return open(fallback);
            }
        }

        private Device open(Precision chosen) {
            return new Device(Backends.create(name, new BackendOptions(threads, chosen, true)));
        }
    }

    /**
     * The name that selects it.
     *
     * @return {@code cuda} or {@code cpu}
     */
    public String name() {
        return backend.name();
    }

    /**
     * What it is, for people: processor or GPU, threads, libraries.
     *
     * @return one line
     */
    public String description() {
        return backend.description();
    }

    /**
     * Precision of its models.
     *
     * @return the one that was asked for, or the other that was allowed
     */
    public Precision precision() {
        return backend.precision();
    }

    /** What runs the operations. */
    Backend backend() {
        return backend;
    }

    // ---------------------------------------------------------------------------------------------- memory

    /**
     * New memory.
     *
     * @return an arena, to be closed before this device
     */
    public Arena newArena() {
        return backend.newArena();
    }

    /**
     * An F32 tensor of a CPU in memory that the program has: nothing is copied, and results appear in the array.
     *
     * @param values row-major, as many as the shape has
     * @param dims the tensor's dimensions, outermost first
     * @return the tensor
     * @throws IllegalArgumentException if the sizes differ, or this is a GPU, which cannot reach a Java array
     */
    public Tensor wrap(float[] values, int... dims) {
        return backend.wrap(DType.F32, values, Shape.of(dims));
    }

    /**
     * An I32 tensor of a CPU in memory that the program has, such as token ids: nothing is copied.
     *
     * @param values row-major, as many as the shape has
     * @param dims the tensor's dimensions, outermost first
     * @return the tensor
     * @throws IllegalArgumentException if the sizes differ, or this is a GPU, which cannot reach a Java array
     */
    public Tensor wrap(int[] values, int... dims) {
        return backend.wrap(DType.I32, values, Shape.of(dims));
    }

    // ---------------------------------------------------------------------------------------------- operations

    /**
     * The softmax of each row.
     *
     * @param x (rows, C)
     * @param y (rows, C); may be x
     * @throws IllegalArgumentException if shapes, types or devices do not go together
     */
    public void softmax(Tensor x, Tensor y) {
        rowwise(new SoftmaxOp(given(x, "x"), given(y, "y"), false), x);
    }

    /**
     * The gradient of {@link #softmax}: dx = y * (dy - sum(y * dy)).
     *
     * @param y (rows, C), what softmax has given
     * @param dy (rows, C)
     * @param dx (rows, C); may be dy
     * @throws IllegalArgumentException if shapes, types or devices do not go together
     */
    public void softmaxGrad(Tensor y, Tensor dy, Tensor dx) {
        rowwise(new SoftmaxGradOp(given(y, "y"), given(dy, "dy"), given(dx, "dx"), false), y);
    }

    /**
     * Layer normalization of each row (Ba, Kiros and Hinton, 2016), as PyTorch's with eps 1e-5: out = (x - mean) /
     * sqrt(variance + eps) * weight + bias.
     *
     * @param x (rows, C)
     * @param weight (C)
     * @param bias (C)
     * @param out (rows, C)
     * @param stats (rows, 2), receives mean and 1 / standard deviation, for the gradient
     * @throws IllegalArgumentException if shapes, types or devices do not go together, or a GPU is given C above 8,192
     */
    public void layerNorm(Tensor x, Tensor weight, Tensor bias, Tensor out, Tensor stats) {
        rowwise(
                new LayerNormOp(
                        null,
                        given(x, "x"),
                        given(weight, "weight"),
                        given(bias, "bias"),
                        given(out, "out"),
                        given(stats, "stats"),
                        null),
                x);
    }

    /**
     * Gradients of {@link #layerNorm}.
     *
     * @param x (rows, C)
     * @param weight (C)
     * @param stats (rows, 2), as layerNorm wrote them
     * @param dout (rows, C)
     * @param dx (rows, C)
     * @param dweight (C), the sum over the rows
     * @param dbias (C), the sum over the rows
     * @throws IllegalArgumentException if shapes, types or devices do not go together, or a GPU is given C above 8,192
     */
    public void layerNormGrad(
            Tensor x, Tensor weight, Tensor stats, Tensor dout, Tensor dx, Tensor dweight, Tensor dbias) {
        LayerNormOp norm =
                new LayerNormOp(null, given(x, "x"), given(weight, "weight"), null, null, given(stats, "stats"), null);
        LayerNormGradOp op = new LayerNormGradOp(
                norm, given(dout, "dout"), given(dx, "dx"), given(dweight, "dweight"), given(dbias, "dbias"), null);
        rowwise(new ZeroOp(dx), dx); // to which the operation adds
        rowwise(op, x);
    }

    /**
     * Root mean square normalization of each row (Zhang and Sennrich, 2019): out = x / sqrt(mean(x^2) + 1e-5) * weight.
     *
     * @param x (rows, C)
     * @param weight (C)
     * @param out (rows, C)
     * @param stats (rows), receives 1 / root mean square, for the gradient
     * @throws IllegalArgumentException if shapes, types or devices do not go together, or a GPU is given C above 8,192
     */
    public void rmsNorm(Tensor x, Tensor weight, Tensor out, Tensor stats) {
        rowwise(
                new RmsNormOp(given(x, "x"), given(weight, "weight"), given(out, "out"), given(stats, "stats"), null),
                x);
    }

    /**
     * Gradients of {@link #rmsNorm}.
     *
     * @param x (rows, C)
     * @param weight (C)
     * @param stats (rows), as rmsNorm wrote them
     * @param dout (rows, C)
     * @param dx (rows, C)
     * @param dweight (C), the sum over the rows
     * @throws IllegalArgumentException if shapes, types or devices do not go together, or a GPU is given C above 8,192
     */
    public void rmsNormGrad(Tensor x, Tensor weight, Tensor stats, Tensor dout, Tensor dx, Tensor dweight) {
        RmsNormGradOp op = new RmsNormGradOp(
                given(x, "x"),
                given(weight, "weight"),
                given(stats, "stats"),
                given(dout, "dout"),
                given(dx, "dx"),
                given(dweight, "dweight"));
        rowwise(new ZeroOp(dx), dx); // to which the operation adds
        rowwise(op, x);
    }

    /**
     * Causal self-attention with scale S^-0.5 (Vaswani et al., 2017), without storing a matrix (T, T) (Dao et al.,
     * "FlashAttention", 2022). A is H heads of size S = A / H.
     *
     * @param qkv (B, T, 3A): in each row the queries of all heads, then the keys, then the values
     * @param heads H
     * @param out (B, T, A)
     * @param stats (B, T, 2H), receives what the gradient needs
     * @throws IllegalArgumentException if shapes, types or devices do not go together, or a GPU is given S above 128
     */
    public void attention(Tensor qkv, int heads, Tensor out, Tensor stats) {
        run(new AttentionOp(given(qkv, "qkv"), given(out, "out"), given(stats, "stats"), null, heads), sequences(qkv));
    }

    /**
     * The gradient of {@link #attention}.
     *
     * @param qkv (B, T, 3A)
     * @param heads H
     * @param out (B, T, A), what attention has given
     * @param stats (B, T, 2H), as attention wrote them
     * @param dout (B, T, A)
     * @param dqkv (B, T, 3A)
     * @throws IllegalArgumentException if shapes, types or devices do not go together, or a GPU is given S above 128
     */
    public void attentionGrad(Tensor qkv, int heads, Tensor out, Tensor stats, Tensor dout, Tensor dqkv) {
        AttentionOp forward = new AttentionOp(given(qkv, "qkv"), given(out, "out"), given(stats, "stats"), null, heads);
        run(new AttentionGradOp(forward, given(dout, "dout"), given(dqkv, "dqkv")), sequences(qkv));
    }

    /**
     * Softmax and cross entropy: the sum over the rows of -log p(target), in nats.
     *
     * @param logits (rows, V), F32
     * @param targets (rows), I32, from 0 to V - 1
     * @param loss (1), receives the sum; NaN if a GPU is given a target outside of the vocabulary
     * @throws IllegalArgumentException if shapes, types or devices do not go together, or the CPU is given a target outside
     *     of the vocabulary
     */
    public void crossEntropy(Tensor logits, Tensor targets, Tensor loss) {
        rowwise(
                new CrossEntropyOp(given(logits, "logits"), given(targets, "targets"), given(loss, "loss"), null, 1),
                logits);
    }

    /**
     * {@link #crossEntropy} and its gradient: dlogits = (softmax(logits) - onehot(target)) * scale.
     *
     * @param logits (rows, V), F32
     * @param targets (rows), I32, from 0 to V - 1
     * @param loss (1), receives the sum; NaN if a GPU is given a target outside of the vocabulary
     * @param dlogits (rows, V), F32 or BF16; may be logits
     * @param scale 1 for the gradient of the sum, 1 / rows for that of the mean
     * @throws IllegalArgumentException if shapes, types or devices do not go together, or the CPU is given a target outside
     *     of the vocabulary
     */
    public void crossEntropyGrad(Tensor logits, Tensor targets, Tensor loss, Tensor dlogits, float scale) {
        rowwise(
                new CrossEntropyOp(
                        given(logits, "logits"),
                        given(targets, "targets"),
                        given(loss, "loss"),
                        given(dlogits, "dlogits"),
                        scale),
                logits);
    }

    /**
     * A linear layer: y = x w^T + bias.
     *
     * @param x (rows, in)
     * @param w (out, in), of the type of x
     * @param bias (out), F32, or null for none
     * @param y (rows, out); may be F32 where x is BF16
     * @throws IllegalArgumentException if shapes, types or devices do not go together
     */
    public void linear(Tensor x, Tensor w, Tensor bias, Tensor y) {
        rowwise(new LinearOp(given(x, "x"), given(w, "w"), bias, false, given(y, "y")), x);
    }

    /**
     * Gradients of {@link #linear}: dx = dy w, dw = dy^T x, dbias the sum of the rows of dy.
     *
     * @param x (rows, in)
     * @param w (out, in), of the type of x
     * @param dy (rows, out), of the type of x
     * @param dx (rows, in), or null if it is not wanted
     * @param dw (out, in), F32
     * @param dbias (out), F32, or null for none
     * @throws IllegalArgumentException if shapes, types or devices do not go together
     */
    public void linearGrad(Tensor x, Tensor w, Tensor dy, Tensor dx, Tensor dw, Tensor dbias) {
        rowwise(new LinearGradOp(given(x, "x"), given(w, "w"), given(dy, "dy"), dx, given(dw, "dw"), dbias), x);
    }

    /**
     * Copies a matrix of one or two bits a weight to this device, to multiply with.
     *
     * @param matrix not changed
     * @return the linear layer of that matrix, to be closed before this device
     * @throws io.github.drakegpt.tensor.OutOfMemoryException if the device has too little memory
     */
    public TernaryLinear load(TernaryMatrix matrix) {
        return new TernaryLinear(this, matrix);
    }

    static Tensor given(Tensor operand, String name) {
        if (operand == null) {
            throw new IllegalArgumentException(name + " is null; give a tensor.");
        }
        if (operand.size() == 0) {
            throw new IllegalArgumentException(
                    name + " is " + operand.shape() + ", which has no elements; give at least one row and one column.");
        }
        return operand;
    }

    /** Runs an operation in which each row of x stands for itself. */
    void rowwise(Operation op, Tensor x) {
        run(op, Pass.evaluation(Math.toIntExact(x.size() / x.shape().columns()), 1));
    }

    private static Pass sequences(Tensor qkv) {
        Shape shape = qkv.shape(); // (B, T, 3A) or (T, 3A)
        int length = shape.dim(shape.rank() - 2);
        return Pass.evaluation(Math.toIntExact(qkv.size() / shape.columns() / length), length);
    }

    private void run(Operation op, Pass pass) {
        op.run(backend, pass);
    }

    /**
     * Frees what the device holds, and on a GPU what its arenas still do, after the calls under way; later calls are an
     * {@link IllegalStateException}. A second close does nothing.
     *
     * @throws IllegalStateException if it is called by the device's own work
     */
    @Override
    public void close() {
        backend.close();
    }
}
