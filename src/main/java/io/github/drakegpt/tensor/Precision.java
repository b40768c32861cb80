package io.github.drakegpt.tensor;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * Precision of a backend's models. Parameters, their gradients and moments, statistics and all sums are float32 in
 * each.
 */
public enum Precision {
    /** float32 throughout. */
    FP32,
    /** Like {@link #FP32}, except that the tensor cores round the inputs of matrix products to 10 bits of mantissa. */
    TF32,
    /**
     * The inputs of linear layers' matrix products in bfloat16. A GPU also keeps activations and their gradients in it; a
     * CPU keeps those in float32.
     */
    BF16;

    /**
     * The precision of that name.
     *
     * @param name its {@link #label}, such as {@code bf16}
     * @return the precision
     * @throws IllegalArgumentException if there is none
     */
    public static Precision of(String name) {
        return Arrays.stream(values())
                .filter(precision -> precision.label().equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("There is no precision '" + name + "'; choose one of "
                        + Arrays.stream(values()).map(Precision::label).collect(Collectors.joining(", ")) + "."));
    }

    /**
     * Its name in settings and messages.
     *
     * @return the name in lower case
     */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }

    /**
     * The type of activations and their gradients on a GPU.
     *
     * @return F32 or BF16
     */
    public DType activations() {
        return this == BF16 ? DType.BF16 : DType.F32;
    }
}
