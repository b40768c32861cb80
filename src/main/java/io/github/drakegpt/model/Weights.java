package io.github.drakegpt.model;

import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.quant.PackedMatrix;
import io.github.drakegpt.quant.Quantization;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A model's weights on the host, as {@link Generator} and {@link Scorer} take them: those of a quantized model's attention
 * and feed-forward layers are packed.
 *
 * @param flat the others, laid out as {@link LanguageModel#inferenceParametersOf}
 * @param packed the packed ones by name, in the order of {@link Parameters#packed}
 */
public record Weights(ModelConfig config, float[] flat, Map<String, PackedMatrix> packed) {
    /**
     * Rounds and packs the weights that the model uses quantized.
     *
     * @param trained laid out as {@link LanguageModel#parametersOf}
     * @throws IllegalArgumentException that names a matrix which cannot be packed
     */
    public static Weights of(ModelConfig config, float[] trained) {
        if (config.quant() == Quantization.NONE) {
            return new Weights(config, trained, Map.of());
        }
        Map<String, Parameters.Entry> from = new LinkedHashMap<>();
        LanguageModel.parametersOf(config).entries().forEach(entry -> from.put(entry.name(), entry));
        Parameters to = LanguageModel.inferenceParametersOf(config);
        float[] flat = new float[Math.toIntExact(to.size())];
        for (Parameters.Entry entry : to.entries()) {
            int offset = Math.toIntExact(from.get(entry.name()).offset());
            System.arraycopy(
                    trained,
                    offset,
                    flat,
                    Math.toIntExact(entry.offset()),
                    Math.toIntExact(entry.shape().size()));
        }
        Map<String, PackedMatrix> packed = new LinkedHashMap<>();
        for (Parameters.Packed weight : to.packed()) {
            // the parts lie one after another
            int offset = Math.toIntExact(from.get(weight.parts().get(0)).offset());
            try {
                packed.put(
                        weight.name(),
                        PackedMatrix.pack(
                                config.quant(),
                                trained,
                                offset,
                                weight.weights().out(),
                                weight.weights().in(),
                                weight.parts().size()));
            } catch (IllegalArgumentException e) {
                throw new IllegalArgumentException(
                        weight.name() + " cannot be packed: " + e.getMessage() + "; train the run again.", e);
            }
        }
        return new Weights(config, flat, packed);
    }

    /** Bytes of the weights: 4 for each that is not packed, plus codes and scales of the packed ones. */
    public long bytes() {
        return bytes(config);
    }

    /** Bytes of the weights of a model of this configuration. */
    public static long bytes(ModelConfig config) {
        Parameters parameters = LanguageModel.inferenceParametersOf(config);
        long bytes = 0;
        for (Parameters.Entry entry : parameters.entries()) {
            bytes += Float.BYTES * entry.shape().size();
        }
        for (Parameters.Packed weight : parameters.packed()) {
            int out = weight.weights().out();
            int in = weight.weights().in();
            // a scale for each part
            bytes += PackedMatrix.bytes(config.quant(), out, in)
                    + (long) Float.BYTES * weight.parts().size();
        }
        return bytes;
    }
}
