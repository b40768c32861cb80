package io.github.drakegpt.backend.cuda;

import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Tensor;

/** Element type of activations. Every row kernel exists for both; its name ends with the type's. */
enum FloatType {
    F32(DType.F32),
    BF16(DType.BF16);

    private final DType dtype;

    FloatType(DType dtype) {
        this.dtype = dtype;
    }

    /**
     * The type of a tensor.
     *
     * @throws IllegalArgumentException if it is neither
     */
    static FloatType of(Tensor tensor) {
        for (FloatType type : values()) {
            if (tensor.dtype() == type.dtype) {
                return type;
            }
        }
        throw new IllegalArgumentException("A tensor " + tensor + " was given where F32 or BF16 is needed.");
    }

    /** Suffix of its kernels' names. */
    String suffix() {
        return this == F32 ? "_f32" : "_bf16";
    }

    /** Elements of 16 bytes. */
    int pack() {
        return 16 / dtype.bytes();
    }
}
