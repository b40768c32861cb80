package io.github.drakegpt.checkpoint;

import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Shape;
import java.io.IOException;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Packed weights in a safetensors file. Metadata: {@code format} is {@code drakegpt-packed}, {@code layout} is
 * {@link PackedMatrix#layout}. Each packed matrix is a U8 tensor (tiles, units, 512) under its name, laid out as
 * {@link PackedMatrix} says, with an F32 tensor {@code NAME_scale}: a scale for each of the matrices that were stacked
 * (the queries, keys and values of each head). All other tensors are F32 under the names of the state_dict.
 */
final class PackedWeightsFile {
    private static final String FORMAT = "drakegpt-packed";
    private static final String FORMAT_KEY = "format";
    private static final String LAYOUT_KEY = "layout";
    private static final String SCALE = "_scale";

    private PackedWeightsFile() {}

    /** Whether a file says that it is one. */
    static boolean is(Safetensors file) {
        return FORMAT.equals(file.metadata().get(FORMAT_KEY));
    }

    static void write(OutputStream out, Weights weights) throws IOException {
        ModelConfig config = weights.config();
        List<Safetensors.Source> sources = new ArrayList<>();
        StateDict.addEntries(sources, LanguageModel.inferenceParametersOf(config), "", weights.flat());
        weights.packed().forEach((name, matrix) -> {
            sources.add(new Safetensors.Source(
                    name, codesShape(matrix.quantization(), matrix.out(), matrix.in()), matrix.codes()));
            sources.add(new Safetensors.Source(name + SCALE, Shape.of(matrix.scales().length), matrix.scales(), 0));
        });
        Safetensors.write(out, Map.of(FORMAT_KEY, FORMAT, LAYOUT_KEY, PackedMatrix.layout(config.quant())), sources);
    }

    /**
     * Reads the weights of a model.
     *
     * @throws CorruptFileException if the layout is another one, a tensor is missing or has another type or shape, or codes
     *     or scales are not possible
     */
    static Weights read(Safetensors file, ModelConfig config) throws IOException {
        if (config.quant() == Quantization.NONE) {
            throw file.corrupt("it holds packed weights where config.json names no quantization", null);
        }
        String layout = PackedMatrix.layout(config.quant());
        if (!layout.equals(file.metadata().get(LAYOUT_KEY))) {
            throw file.corrupt(
                    "its weights have the layout " + file.metadata().get(LAYOUT_KEY) + " where " + layout
                            + " is needed",
                    null);
        }
        Parameters parameters = LanguageModel.inferenceParametersOf(config);
        float[] flat = StateDict.read(file, parameters, "");
        Map<String, PackedMatrix> packed = new LinkedHashMap<>();
        for (Parameters.Packed weight : parameters.packed()) {
            int out = weight.weights().out();
            int in = weight.weights().in();
            float[] scales = new float[weight.parts().size()];
            file.read(weight.name() + SCALE, Shape.of(scales.length), scales, 0);
            byte[] codes = file.readBytes(weight.name(), codesShape(config.quant(), out, in));
            try {
                packed.put(weight.name(), new PackedMatrix(config.quant(), out, in, codes, scales));
            } catch (IllegalArgumentException e) {
                throw file.corrupt("tensor " + weight.name() + ": " + e.getMessage(), e);
            }
        }
        return new Weights(config, flat, packed);
    }

    private static Shape codesShape(Quantization quantization, int out, int in) {
        return Shape.of(
                PackedMatrix.tiles(out),
                PackedMatrix.paddedColumns(quantization, in) / PackedMatrix.unitColumns(quantization),
                PackedMatrix.UNIT_BYTES);
    }
}
