package io.github.drakegpt.checkpoint;

import ai.onnx.proto.OnnxMl.AttributeProto;
import ai.onnx.proto.OnnxMl.GraphProto;
import ai.onnx.proto.OnnxMl.NodeProto;
import ai.onnx.proto.OnnxMl.TensorProto;
import ai.onnx.proto.OnnxMl.TensorShapeProto;
import ai.onnx.proto.OnnxMl.TypeProto;
import ai.onnx.proto.OnnxMl.ValueInfoProto;
import com.google.protobuf.ByteString;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.Map;

/** Builds a graph of ONNX operators, value by value; each value is known by its name (onnx.ai/onnx/operators). */
final class OnnxGraph {
    private final GraphProto.Builder graph = GraphProto.newBuilder();
    private final Map<String, Integer> counts = new HashMap<>();

    OnnxGraph(String name) {
        graph.setName(name);
    }

    /** Adds an input; its dimensions are names. */
    String input(String name, TensorProto.DataType type, String... dims) {
        graph.addInput(value(name, type, dims));
        return name;
    }

    /** Makes a value an output, under another name; its dimensions are names or numbers. */
    void output(String value, String name, TensorProto.DataType type, String... dims) {
        graph.addNode(NodeProto.newBuilder()
                .setOpType("Identity")
                .setName(name)
                .addInput(value)
                .addOutput(name));
        graph.addOutput(value(name, type, dims));
    }

    private static ValueInfoProto value(String name, TensorProto.DataType type, String... dims) {
        TensorShapeProto.Builder shape = TensorShapeProto.newBuilder();
        for (String dim : dims) {
            TensorShapeProto.Dimension.Builder dimension = shape.addDimBuilder();
            if (dim.chars().allMatch(Character::isDigit)) {
                dimension.setDimValue(Long.parseLong(dim));
            } else {
                dimension.setDimParam(dim);
            }
        }
        TypeProto.Tensor tensor = TypeProto.Tensor.newBuilder()
                .setElemType(type.getNumber())
                .setShape(shape)
                .build();
        return ValueInfoProto.newBuilder()
                .setName(name)
                .setType(TypeProto.newBuilder().setTensorType(tensor))
                .build();
    }

    /** Adds a constant of float32. */
    String floats(String name, float[] values, long... dims) {
        ByteBuffer bytes = ByteBuffer.allocate(Float.BYTES * values.length).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        return constant(name, TensorProto.DataType.FLOAT, bytes, dims);
    }

    /** Adds a scalar of float32. */
    String number(float value) {
        return floats(unique("number"), new float[] {value});
    }

    /** Adds a vector of int64. */
    String integers(long... values) {
        ByteBuffer bytes = ByteBuffer.allocate(Long.BYTES * values.length).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asLongBuffer().put(values);
        return constant(unique("integers"), TensorProto.DataType.INT64, bytes, values.length);
    }

    /** Adds a scalar of int64. */
    String integer(long value) {
        ByteBuffer bytes = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        bytes.putLong(0, value);
        return constant(unique("integer"), TensorProto.DataType.INT64, bytes);
    }

    private String constant(String name, TensorProto.DataType type, ByteBuffer bytes, long... dims) {
        TensorProto.Builder tensor = graph.addInitializerBuilder()
                .setName(name)
                .setDataType(type.getNumber())
                .setRawData(ByteString.copyFrom(bytes.array()));
        for (long dim : dims) {
            tensor.addDims(dim);
        }
        return name;
    }

    /** Adds an operator with one output. */
    String node(String operator, String... inputs) {
        return nodeOf(operator, inputs).getOutput(0);
    }

    /** Adds an operator with one output and an attribute that is a whole number. */
    String node(String operator, String attribute, long value, String... inputs) {
        NodeProto.Builder node = nodeOf(operator, inputs);
        node.addAttribute(named(attribute, AttributeProto.AttributeType.INT).setI(value));
        return node.getOutput(0);
    }

    /** Adds an operator with one input and one output, and an attribute that is a list of whole numbers. */
    String node(String operator, String attribute, long[] values, String input) {
        NodeProto.Builder node = nodeOf(operator, input);
        AttributeProto.Builder list = named(attribute, AttributeProto.AttributeType.INTS);
        for (long value : values) {
            list.addInts(value);
        }
        node.addAttribute(list);
        return node.getOutput(0);
    }

    /** Adds a transposition. */
    String transpose(String value, long... order) {
        return node("Transpose", "perm", order, value);
    }

    /** Adds a reduction of the last dimension to 1. */
    String reduce(String operator, String value) {
        return node(operator, "axes", new long[] {-1}, value);
    }

    private NodeProto.Builder nodeOf(String operator, String... inputs) {
        String name = unique(operator);
        NodeProto.Builder node =
                graph.addNodeBuilder().setOpType(operator).setName(name).addOutput(name);
        for (String input : inputs) {
            node.addInput(input);
        }
        return node;
    }

    private static AttributeProto.Builder named(String name, AttributeProto.AttributeType type) {
        return AttributeProto.newBuilder().setName(name).setType(type);
    }

    private String unique(String name) {
        return name + "_" + counts.merge(name, 1, Integer::sum);
    }

    GraphProto build() {
        return graph.build();
    }
}
