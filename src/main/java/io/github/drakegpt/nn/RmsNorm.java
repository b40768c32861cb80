package io.github.drakegpt.nn;

import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.RmsNormGradOp;
import io.github.drakegpt.ops.RmsNormOp;
import io.github.drakegpt.ops.ZeroOp;
import io.github.drakegpt.tensor.Tensor;

/** Root mean square normalization (Zhang and Sennrich, 2019) of each row, before a layer that can be quantized. */
final class RmsNorm {
    private final RmsNormOp norm;
    private final ZeroOp zeroGrad; // or null
    private final RmsNormGradOp normGrad; // or null
    private final Activation out;

    /** @param outGrad (rows, C), the gradient of the output; null where nothing is trained */
    RmsNorm(LayerContext context, String name, Activation x, Tensor outGrad) {
        int width = x.value().shape().columns();
        Parameter weight = context.parameters().add(name + ".weight", Init.Distribution.constant(1), width);
        Tensor stats = context.statistics("sub-norm stats", 1);
        this.out = context.beforeQuantizable(context.activation("sub-normed", width), outGrad);
        this.norm = new RmsNormOp(x.value(), weight.value(), out.value(), stats, out.rounded());
        this.zeroGrad = x.grad() == null ? null : new ZeroOp(x.grad());
        this.normGrad = x.grad() == null
                ? null
                : new RmsNormGradOp(x.value(), weight.value(), stats, outGrad, x.grad(), weight.grad());
    }

    /** The normalized rows. */
    Activation out() {
        return out;
    }

    void forward(Operations ops, Pass pass) {
        ops.rmsNorm(norm, pass);
    }

    void backward(Operations ops, Pass pass) {
        ops.zero(zeroGrad, pass);
        ops.rmsNormGrad(normGrad, pass);
    }
}
