package io.github.drakegpt.checkpoint;

import ai.onnx.proto.OnnxMl.ModelProto;
import ai.onnx.proto.OnnxMl.OperatorSetIdProto;
import ai.onnx.proto.OnnxMl.StringStringEntryProto;
import ai.onnx.proto.OnnxMl.TensorProto.DataType;
import io.github.drakegpt.data.CharTokenizer;
import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * Writes a model as an ONNX graph: {@code tokens}, int64 (batch, length), to {@code logits}, float32 (batch, length, V), for
 * any batch and any length up to T, in operators of opset 17. The metadata has the vocabulary and T.
 *
 * <p>A quantized model's weights are written as the float32 numbers that they stand for, and what they multiply is rounded as
 * in training.
 */
public final class OnnxModel {
    private static final int IR_VERSION = 8; // the oldest that has opset 17
    private static final int OPSET = 17; // the oldest that has LayerNormalization
    private static final float EPSILON = 1e-5f; // of all norms
    private static final float SMALLEST_ROW = 1e-5f; // of what is rounded to 8 bits
    private static final String BATCH = "batch";
    private static final String LENGTH = "length";

    private final ModelConfig config;
    private final Weights weights;
    private final Map<String, Parameters.Entry> entries = new HashMap<>();
    private final OnnxGraph graph;
    private String places; // (length): 0, 1, 2, ...
    private String visible; // (length, length): whether a place (row) sees another

    private OnnxModel(Weights weights) {
        this.weights = weights;
        this.config = weights.config();
        this.graph = new OnnxGraph(config.name());
        LanguageModel.inferenceParametersOf(config).entries().forEach(entry -> entries.put(entry.name(), entry));
    }

    /** Writes a whole file. */
    public static void write(OutputStream out, Weights weights, CharTokenizer tokenizer) throws IOException {
        OnnxModel model = new OnnxModel(weights);
        model.build();
        ModelProto.newBuilder()
                .setIrVersion(IR_VERSION)
                .setProducerName("drakegpt")
                .addOpsetImport(OperatorSetIdProto.newBuilder().setVersion(OPSET))
                .setGraph(model.graph.build())
                .addMetadataProps(property("vocab", new String(tokenizer.json(), StandardCharsets.UTF_8).strip()))
                .addMetadataProps(property(
                        "context_length", Integer.toString(weights.config().contextLength())))
                .build()
                .writeTo(out);
    }

    private static StringStringEntryProto property(String key, String value) {
        return StringStringEntryProto.newBuilder().setKey(key).setValue(value).build();
    }

    // ---------------------------------------------------------------------------------------------- the models

    private void build() {
        String tokens = graph.input("tokens", DataType.INT64, BATCH, LENGTH);
        String x = graph.node("Gather", parameter("token_embedding_table.weight"), tokens);
        if (!config.name().equals(Models.BIGRAM)) {
            x = linear("lm_head", features(tokens, x), false);
        }
        graph.output(x, "logits", DataType.FLOAT, BATCH, LENGTH, Integer.toString(config.vocabSize()));
    }

    /** @param x the embedded tokens (batch, length, C) */
    private String features(String tokens, String x) {
        String length = graph.node("Gather", graph.node("Shape", tokens), graph.integer(1));
        places = graph.node("Range", graph.integer(0), length, graph.integer(1));
        visible = graph.node(
                "LessOrEqual",
                graph.node("Unsqueeze", places, graph.integers(0)),
                graph.node("Unsqueeze", places, graph.integers(1)));
        String y = graph.node("Add", x, graph.node("Gather", parameter("position_embedding_table.weight"), places));
        if (config.name().equals(Models.SINGLE_HEAD)) {
            return attention("sa_head", 1, config.headSize(), y);
        }
        if (config.name().equals(Models.MULTI_HEAD)) {
            return attention("sa_head", config.numHeads(), config.headSize(), y);
        }
        for (int i = 0; i < config.numLayers(); i++) {
            y = block("blocks." + i, y);
        }
        boolean normed = config.name().equals(Models.TRANSFORMER) && config.finalNorm();
        return normed ? layerNorm("ln_f", y) : y;
    }

    private String block(String name, String x) {
        boolean transformer = config.name().equals(Models.TRANSFORMER);
        String heads = attention(
                name + ".sa_head",
                config.numHeads(),
                config.embeddingDim(),
                transformer ? layerNorm(name + ".ln1", x) : x);
        if (config.name().equals(Models.BLOCKS)) {
            return graph.node("Relu", linear(name + ".ffwd.net.0", heads, false));
        }
        String y = graph.node("Add", x, linear(name + ".sa_head.proj", subNorm(name + ".sa_head", heads), true));
        String hidden =
                graph.node("Relu", linear(name + ".ffwd.net.0", transformer ? layerNorm(name + ".ln2", y) : y, true));
        return graph.node("Add", y, linear(name + ".ffwd.net.2", subNorm(name + ".ffwd", hidden), true));
    }

    /**
     * Causal self-attention of (batch, length, C), without a projection: (batch, length, width).
     *
     * @param width of all heads together
     */
    private String attention(String name, int heads, int width, String x) {
        int headSize = width / heads;
        String qkv = product(qkvWeight(name, heads), x, true); // (batch, length, 3 width)
        String split = graph.node("Reshape", qkv, graph.integers(0, 0, 3, heads, headSize));
        String parts = graph.transpose(split, 2, 0, 3, 1, 4); // (3, batch, heads, length, headSize)
        String queries = graph.node("Gather", parts, graph.integer(0));
        String keys = graph.node("Gather", parts, graph.integer(1));
        String values = graph.node("Gather", parts, graph.integer(2));
        String products = graph.node("MatMul", queries, graph.transpose(keys, 0, 1, 3, 2));
        String scores = graph.node("Mul", products, graph.number((float) (1 / Math.sqrt(headSize))));
        String masked = graph.node("Where", visible, scores, graph.number(Float.NEGATIVE_INFINITY));
        String attended = graph.node("MatMul", graph.node("Softmax", "axis", -1, masked), values);
        String joined = graph.transpose(attended, 0, 2, 1, 3); // (batch, length, heads, headSize)
        return graph.node("Reshape", joined, graph.integers(0, 0, width));
    }

    private String layerNorm(String name, String x) {
        return graph.node("LayerNormalization", x, parameter(name + ".weight"), parameter(name + ".bias"));
    }

    /** The RMS norm of a quantized model, or x where there is none. */
    private String subNorm(String name, String x) {
        if (!config.subNorm()) {
            return x;
        }
        String square = graph.reduce("ReduceMean", graph.node("Mul", x, x));
        String root = graph.node("Sqrt", graph.node("Add", square, graph.number(EPSILON)));
        return graph.node("Mul", graph.node("Div", x, root), parameter(name + ".sub_norm.weight"));
    }

    /** @param quantizable whether its weight is rounded in a quantized model */
    private String linear(String name, String x, boolean quantizable) {
        return graph.node("Add", product(weight(name + ".weight"), x, quantizable), parameter(name + ".bias"));
    }

    // ---------------------------------------------------------------------------------------------- weights

    private record Matrix(String name, int out, int in, float[] values) {}

    /** x weight^T */
    private String product(Matrix weight, String x, boolean quantizable) {
        float[] transposed = new float[weight.values().length]; // (in, out)
        for (int row = 0; row < weight.out(); row++) {
            for (int column = 0; column < weight.in(); column++) {
                transposed[column * weight.out() + row] = weight.values()[row * weight.in() + column];
            }
        }
        boolean rounds = quantizable && config.quant() != Quantization.NONE;
        return graph.node(
                "MatMul",
                rounds ? rounded(x) : x,
                graph.floats(weight.name() + ".transposed", transposed, weight.in(), weight.out()));
    }

    /** Each row rounded to 8 bits, times its scale. */
    private String rounded(String x) {
        String largest = graph.node("Max", graph.reduce("ReduceMax", graph.node("Abs", x)), graph.number(SMALLEST_ROW));
        String scale = graph.node("Div", graph.number(127), largest);
        return graph.node("Div", graph.node("Round", graph.node("Mul", x, scale)), scale);
    }

    private String parameter(String name) {
        Parameters.Entry entry = entries.get(name);
        long[] dims = Arrays.stream(entry.shape().dims()).asLongStream().toArray();
        return graph.floats(name, values(entry), dims);
    }

    private float[] values(Parameters.Entry entry) {
        int from = Math.toIntExact(entry.offset());
        return Arrays.copyOfRange(
                weights.flat(), from, from + Math.toIntExact(entry.shape().size()));
    }

    private Matrix weight(String name) {
        PackedMatrix packed = weights.packed().get(name);
        if (packed != null) {
            return unpacked(name, packed);
        }
        Parameters.Entry entry = entries.get(name);
        return new Matrix(name, entry.shape().dim(0), entry.shape().columns(), values(entry));
    }

    /** The queries' weights of all heads, then the keys', then the values': (3 width, C). */
    private Matrix qkvWeight(String name, int heads) {
        String merged = name + ".qkv.weight";
        PackedMatrix packed = weights.packed().get(merged);
        if (packed != null) {
            return unpacked(merged, packed);
        }
        float[] values = null;
        int done = 0;
        int columns = 0;
        for (String part : new String[] {"query", "key", "value"}) {
            for (int head = 0; head < heads; head++) {
                boolean single = config.name().equals(Models.SINGLE_HEAD);
                Parameters.Entry entry = entries.get(name + (single ? "" : ".heads." + head) + "." + part + ".weight");
                float[] each = values(entry);
                values = values == null ? new float[3 * heads * each.length] : values;
                System.arraycopy(each, 0, values, done, each.length);
                done += each.length;
                columns = entry.shape().columns();
            }
        }
        return new Matrix(merged, done / columns, columns, values);
    }

    private static Matrix unpacked(String name, PackedMatrix packed) {
        float[] scales = packed.rowScales();
        float[] values = new float[packed.out() * packed.in()];
        for (int row = 0; row < packed.out(); row++) {
            for (int column = 0; column < packed.in(); column++) {
                values[row * packed.in() + column] = packed.value(row, column) * scales[row];
            }
        }
        return new Matrix(name, packed.out(), packed.in(), values);
    }
}
