package io.github.drakegpt.nn;

import io.github.drakegpt.ops.AttentionCachedOp;
import io.github.drakegpt.ops.AttentionGradOp;
import io.github.drakegpt.ops.AttentionOp;
import io.github.drakegpt.ops.Operations;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * Causal self-attention of one or more heads, without an output projection. Queries, keys and values of all heads come
 * from one product with a merged weight; the state_dict has one weight for each.
 */
public final class CausalSelfAttention {
    private final LinearWeight qkvWeight; // (3A, in): queries of all heads, then keys, then values
    private final AttentionOp attention;
    private final AttentionCachedOp attentionCached; // or null
    private final AttentionGradOp attentionGrad; // or null
    private final Activation out; // (B, T, A)

    /** One head: its weights are called {@code name.query.weight} and so on. */
    public static CausalSelfAttention singleHead(LayerContext context, String name, Activation x, int headSize) {
        return new CausalSelfAttention(context, name, List.of(name), x, headSize, 0);
    }

    /** Several heads: the weights of head h are called {@code name.heads.h.query.weight} and so on. */
    public static CausalSelfAttention multiHead(
            LayerContext context, String name, Activation x, int heads, int headSize, float dropout) {
        List<String> names = new ArrayList<>();
        for (int h = 0; h < heads; h++) {
            names.add(name + ".heads." + h);
        }
        return new CausalSelfAttention(context, name, names, x, headSize, dropout);
    }

    private CausalSelfAttention(
            LayerContext context, String name, List<String> headNames, Activation x, int headSize, float dropout) {
        int heads = headNames.size();
        int width = heads * headSize;
        int contextLength = context.capacity().context();
        int in = x.value().shape().columns();
        List<String> parts = new ArrayList<>();
        for (String part : List.of("query", "key", "value")) {
            headNames.forEach(head -> parts.add(head + "." + part + ".weight"));
        }
        this.qkvWeight = LinearWeight.add(
                context,
                context.quantization(),
                new LinearWeight.Names(name + ".qkv.weight", parts),
                Shape.of(headSize, in),
                context.init().weight(in));
        headNames.forEach(head -> context.parameters()
                .addConstant(head + ".tril", Shape.of(contextLength, contextLength), () -> mask(contextLength)));
        Activation qkv = new Activation( // (B, T, 3A)
                context.activation("qkv", 3 * width), context.gradient("dqkv", 3 * width));
        this.out = new Activation(context.activation("heads", width), context.gradient("dheads", width));
        Tensor stats = context.statistics("attention stats", 2 * heads); // (B, H, T, 2)
        qkvWeight.wire(new LinearWeight.Wiring(x, null, false, qkv, null));
        this.attention = new AttentionOp(qkv.value(), out.value(), stats, context.dropout(dropout), heads);
        this.attentionGrad = context.training() ? new AttentionGradOp(attention, out.grad(), qkv.grad()) : null;
        this.attentionCached = context.position() == null
                ? null
                : new AttentionCachedOp(
                        qkv.value(),
                        context.allocate(Shape.of(context.capacity().batch(), contextLength, 2 * width)),
                        context.position(),
                        out.value(),
                        heads);
    }

    /** PyTorch's module keeps its causal mask in the state_dict: ones on and below the diagonal. */
    private static float[] mask(int t) {
        float[] mask = new float[t * t];
        for (int i = 0; i < t; i++) {
            for (int j = 0; j <= i; j++) {
                mask[i * t + j] = 1;
            }
        }
        return mask;
    }

    /** The heads' outputs, concatenated: (B, T, A). */
    public Activation out() {
        return out;
    }

    /** Writes {@link #out} from x. */
    public void forward(Operations ops, Pass pass) {
        qkvWeight.forward(ops, pass);
        if (pass.cached()) {
            ops.attentionCached(attentionCached, pass);
        } else {
            ops.attention(attention, pass);
        }
    }

    /** Writes the gradients of x and of the weight from that of {@link #out}. */
    public void backward(Operations ops, Pass pass) {
        ops.attentionGrad(attentionGrad, pass);
        qkvWeight.backward(ops, pass);
    }
}
