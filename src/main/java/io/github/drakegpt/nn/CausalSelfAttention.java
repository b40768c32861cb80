package io.github.drakegpt.nn;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Dropout;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * Causal self-attention of one or more heads side by side, without a projection behind them. Queries, keys and values of
 * all heads come from one product with a merged weight; the state_dict has one weight for each.
 */
public final class CausalSelfAttention {
    private final Backend backend;
    private final int heads;
    private final int headSize;
    private final int context;
    private final Dropout dropout;
    private final Product qkvProduct; // weight (3A, in): queries of all heads, then keys, then values
    private final Tensor qkv; // (B, T, 3A)
    private final Tensor out; // (B, T, A)
    private final Tensor stats; // (B, H, T, 2)
    private final Tensor cache; // (B, T, 2A), or null
    private final Tensor position; // I32 (1), or null
    private final Tensor dqkv; // (B, T, 3A)

    /** One head: its weights are called {@code name.query.weight} and so on. */
    public static CausalSelfAttention singleHead(LayerContext context, String name, int in, int headSize) {
        return new CausalSelfAttention(context, name, List.of(name), in, headSize, 0);
    }

    /** Several heads: the weights of head h are called {@code name.heads.h.query.weight} and so on. */
    public static CausalSelfAttention multiHead(
            LayerContext context, String name, int in, int heads, int headSize, float dropout) {
        List<String> names = new ArrayList<>();
        for (int h = 0; h < heads; h++) {
            names.add(name + ".heads." + h);
        }
        return new CausalSelfAttention(context, name, names, in, headSize, dropout);
    }

    private CausalSelfAttention(
            LayerContext layers, String name, List<String> headNames, int in, int headSize, float dropout) {
        this.backend = layers.backend();
        this.heads = headNames.size();
        this.headSize = headSize;
        this.context = layers.capacity().context();
        this.dropout = layers.dropout(dropout);
        int width = heads * headSize;
        List<String> names = new ArrayList<>();
        for (String part : List.of("query", "key", "value")) {
            headNames.forEach(head -> names.add(head + "." + part + ".weight"));
        }
        this.qkvProduct = Product.create(
                layers,
                layers.quantization(),
                name + ".qkv.weight",
                names,
                Shape.of(headSize, in),
                layers.init().weight(in));
        headNames.forEach(head -> declareMask(layers, head + ".tril", context));
        this.qkv = layers.activation("qkv", 3 * width);
        this.out = layers.activation("heads", width);
        this.stats = layers.statistics("attention stats", 2 * heads);
        this.cache = layers.capacity().use() == LayerContext.Use.GENERATION
                ? layers.allocate(Shape.of(layers.capacity().batch(), context, 2 * width))
                : null;
        this.position = layers.position();
        this.dqkv = layers.training() ? layers.scratch("dqkv", 3 * width) : null;
    }

    /** PyTorch's module keeps its causal mask in the state_dict: ones on and below the diagonal. */
    private static void declareMask(LayerContext layers, String name, int t) {
        float[] mask = new float[t * t];
        for (int i = 0; i < t; i++) {
            for (int j = 0; j <= i; j++) {
                mask[i * t + j] = 1;
            }
        }
        layers.parameters().addConstant(name, Shape.of(t, t), mask);
    }

    /** Channels of the output: all heads side by side. */
    public int width() {
        return heads * headSize;
    }

    /** The heads' outputs (B, T, A) for x (B, T, in). */
    public Tensor forward(Tensor x, Pass pass) {
        return forward(Rows.of(x), pass);
    }

    Tensor forward(Rows x, Pass pass) {
        qkvProduct.forward(x, null, false, qkv, pass.rows());
        if (pass.cached()) {
            backend.attentionCached(qkv, cache, position, out, pass.batch(), pass.length(), context, heads, headSize);
        } else {
            backend.attention(
                    qkv,
                    out,
                    stats,
                    pass.training() ? dropout : null,
                    pass.firstSequence(),
                    pass.batch(),
                    pass.length(),
                    heads,
                    headSize);
        }
        return out;
    }

    /** Writes dx (B, T, in) and the weight's gradient from dout (B, T, A). */
    public void backward(Tensor dout, Tensor dx, Pass pass) {
        backend.attentionGrad(
                qkv,
                out,
                stats,
                dout,
                dqkv,
                pass.training() ? dropout : null,
                pass.firstSequence(),
                pass.batch(),
                pass.length(),
                heads,
                headSize);
        qkvProduct.backward(dqkv, dx, null, pass.rows());
    }
}
