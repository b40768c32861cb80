package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Dropout;
import io.github.drakegpt.backend.Int8Rows;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;

/** Layer normalization (Ba, Kiros and Hinton, 2016) of each row, alone or together with the residual sum before it. */
public final class LayerNorm {
    private final Backend backend;
    private final int width;
    private final Parameter weight; // (C)
    private final Parameter bias; // (C)
    private final Tensor stats; // (rows, 2)
    private final Tensor out; // (rows, C)
    private final Int8Rows int8; // or null

    public LayerNorm(LayerContext context, String name, int width) {
        this(context, name, width, null);
    }

    /** A norm before a layer that can be quantized. */
    static LayerNorm beforeQuantizable(LayerContext context, String name, int width) {
        return new LayerNorm(context, name, width, context.packed() ? context.int8Scratch(width) : null);
    }

    private LayerNorm(LayerContext context, String name, int width, Int8Rows int8) {
        this.backend = context.backend();
        this.width = width;
        this.weight = context.parameters().add(name + ".weight", Init.Distribution.constant(1), width);
        this.bias = context.parameters().add(name + ".bias", Init.Distribution.constant(0), width);
        this.stats = context.statistics("norm stats", 2);
        this.out = context.activation("normed", width);
        this.int8 = int8;
    }

    /** Puts a norm that is never applied into the state_dict, as it was initialised. */
    public static void declareUnused(LayerContext context, String name, int width) {
        float[] ones = new float[width];
        Arrays.fill(ones, 1f);
        context.parameters().addConstant(name + ".weight", Shape.of(width), ones);
        context.parameters().addConstant(name + ".bias", Shape.of(width), new float[width]);
    }

    /** The normalized rows of the last forward pass, of a norm before a layer that is never quantized. */
    public Tensor out() {
        return out;
    }

    /** The same for a layer that can be quantized. */
    Rows normed() {
        return new Rows(out, int8);
    }

    /** Normalizes x (rows, C) into {@link #out}. */
    public void forward(Tensor x, int rows) {
        if (int8 == null) {
            backend.layerNorm(x, weight.value(), bias.value(), out, stats, rows, width);
        } else {
            backend.layerNormInt8(x, weight.value(), bias.value(), out, stats, int8, rows, width);
        }
    }

    /** Writes sum = x + dropout(branch + branchBias), and normalizes it into {@link #out}. All (rows, C), but for the bias. */
    void forward(Tensor x, Tensor branch, Tensor branchBias, Dropout dropout, Tensor sum, Pass pass) {
        int rows = pass.rows();
        if (int8 == null) {
            backend.residualNorm(
                    x,
                    branch,
                    branchBias,
                    dropout,
                    pass.firstRow(),
                    sum,
                    weight.value(),
                    bias.value(),
                    out,
                    stats,
                    rows,
                    width);
        } else { // nothing is dropped where nothing is trained, and packed products add their bias
            backend.residualNormInt8(x, branch, sum, weight.value(), bias.value(), out, stats, int8, rows, width);
        }
    }

    /** Adds to dx (rows, C) what comes back through the norm of x from dout (rows, C). */
    public void backward(Tensor x, Tensor dout, Tensor dx, int rows) {
        backend.layerNormGrad(x, weight.value(), stats, dout, dx, weight.grad(), bias.grad(), rows, width);
    }

    /**
     * Adds to dsum (rows, C) what comes back through the norm of the sum from dout (rows, C), then writes the gradients of the
     * sum's branch (rows, C), over dout if that is the same, and of its bias.
     */
    void backward(
            Tensor sum, Tensor dout, Tensor dsum, Dropout dropout, Tensor dbranch, Tensor dbranchBias, Pass pass) {
        backend.residualNormGrad(
                sum,
                weight.value(),
                stats,
                dout,
                dsum,
                weight.grad(),
                bias.grad(),
                dropout,
                pass.firstRow(),
                dbranch,
                dbranchBias,
                pass.rows(),
                width);
    }
}
