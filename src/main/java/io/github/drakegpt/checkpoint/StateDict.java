package io.github.drakegpt.checkpoint;

import io.github.drakegpt.nn.Parameters;
import java.io.IOException;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A flat parameter buffer under the names and shapes of PyTorch's state_dict, so that {@code load_state_dict} of the
 * original models takes the file.
 */
public final class StateDict {
    private StateDict() {}

    /** Writes the parameters and the constants of a model as safetensors. */
    public static void write(OutputStream out, Parameters parameters, float[] weights, Map<String, String> metadata)
            throws IOException {
        write(out, parameters, weights, metadata, ElementType.F32);
    }

    /** The same, rounded to a type of floating point. */
    public static void write(
            OutputStream out, Parameters parameters, float[] weights, Map<String, String> metadata, ElementType type)
            throws IOException {
        Safetensors.write(out, metadata, sources(parameters, weights, type));
    }

    /** The parameters and the constants of a model, rounded to a type of floating point. */
    static List<Safetensors.Source> sources(Parameters parameters, float[] weights, ElementType type) {
        List<Safetensors.Source> sources = new ArrayList<>();
        addEntries(sources, parameters, "", weights, type);
        for (Parameters.Constant constant : parameters.constants()) {
            sources.add(new Safetensors.Source(
                    constant.name(), type, constant.shape(), constant.values().get(), 0));
        }
        return sources;
    }

    static void addEntries(List<Safetensors.Source> sources, Parameters parameters, String prefix, float[] flat) {
        addEntries(sources, parameters, prefix, flat, ElementType.F32);
    }

    private static void addEntries(
            List<Safetensors.Source> sources, Parameters parameters, String prefix, float[] flat, ElementType type) {
        for (Parameters.Entry entry : parameters.entries()) {
            sources.add(new Safetensors.Source(
                    prefix + entry.name(), type, entry.shape(), flat, Math.toIntExact(entry.offset())));
        }
    }

    /**
     * Reads the parameters of a model into a flat buffer; constants are ignored.
     *
     * @param prefix of each name in the file
     * @throws CorruptFileException if a tensor is missing, has another type or shape, or values that are NaN or infinite
     */
    public static float[] read(Safetensors file, Parameters parameters, String prefix) throws IOException {
        float[] flat = new float[Math.toIntExact(parameters.size())];
        for (Parameters.Entry entry : parameters.entries()) {
            String name = prefix + entry.name();
            int from = Math.toIntExact(entry.offset());
            file.read(name, entry.shape(), flat, from);
            if (!isFinite(flat, from, Math.toIntExact(entry.shape().size()))) {
                throw file.corrupt(notFinite(name), null);
            }
        }
        return flat;
    }

    static boolean isFinite(float[] values, int from, int count) {
        for (int i = from; i < from + count; i++) {
            if (!Float.isFinite(values[i])) {
                return false;
            }
        }
        return true;
    }

    static String notFinite(String tensor) {
        return "tensor " + tensor + " has values that are NaN or infinite";
    }
}
