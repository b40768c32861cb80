package io.github.drakegpt.ops;

/**
 * Dropout with inverted scaling (Srivastava et al., 2014): an element is zeroed with the given probability, the others
 * are divided by the probability of being kept.
 *
 * <p>The decision about element {@code e} is the 16-bit half {@code e % 8} of {@link io.github.drakegpt.ops.Philox}
 * block {@code e / 8} (the low half of a word first): zeroed where it is below {@link #threshold()}. Eight decisions a
 * block make masks cheap; the probability is rounded to a multiple of 1/65,536, and the scaling uses the rounded one.
 *
 * @param probability of an element to be zeroed, 0 to below 1
 * @param stream where the mask is drawn from
 */
public record Dropout(float probability, RandomStream stream) {
    /** Checks the probability. */
    public Dropout {
        if (!(probability >= 0 && probability < 1)) {
            throw new IllegalArgumentException(
                    "A dropout of " + probability + " is not possible; give a value from 0 up to, but not, 1.");
        }
    }

    /** Halves below this are zeroed: the probability in units of 1/65,536. */
    public int threshold() {
        return Math.min(Math.round(probability * 65536f), 65535);
    }

    /** The factor of elements that are kept. */
    public float scale() {
        return 65536f / (65536 - threshold());
    }
}
