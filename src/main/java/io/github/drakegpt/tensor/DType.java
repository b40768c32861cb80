package io.github.drakegpt.tensor;

/** Element types of a {@link Tensor}. */
public enum DType {
    /** IEEE 754 binary32: parameters, gradients, activations. */
    F32(4),
    /** bfloat16, the upper half of a binary32: activations and weights of a GPU in reduced precision. */
    BF16(2),
    /** Signed 32-bit integers: token ids, step counters. */
    I32(4),
    /** Unsigned 16-bit integers: a corpus of token ids. */
    U16(2),
    /** Signed 8-bit integers: rounded activations, and packed weights, of which several share a byte. */
    I8(1);

    private final int bytes;

    DType(int bytes) {
        this.bytes = bytes;
    }

    /**
     * Bytes of one element.
     *
     * @return the number
     */
    public int bytes() {
        return bytes;
    }
}
