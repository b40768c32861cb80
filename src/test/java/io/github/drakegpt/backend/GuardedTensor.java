package io.github.drakegpt.backend;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import java.util.Arrays;

/**
 * A tensor in the middle of a larger one that notices when an operation writes beside it. What an operation should not
 * read is NaN: what lies around an input, and an output before it is written.
 */
final class GuardedTensor {
    /** Elements before a tensor, so that it begins at no multiple of 16 bytes. */
    static final int ODD = 7;
    /** So that it begins at one, if the memory does: there a GPU reads and writes 16 bytes at a time. */
    static final int ALIGNED = 8;

    private static final int AFTER = 5;
    private static int before = ODD;

    private final Tensor whole;
    private final Tensor tensor;
    private final float[] written;
    private final int start;
    private final int used;

    private GuardedTensor(Arena arena, DType dtype, float[] values, int spare) {
        used = values.length;
        start = before;
        float[] all = new float[start + used + spare + AFTER];
        Arrays.fill(all, Float.NaN);
        System.arraycopy(values, 0, all, start, used);
        whole = arena.allocate(dtype, Shape.of(all.length));
        whole.write(all);
        written = whole.toFloats();
        tensor = whole.slice(start, Shape.of(used + spare));
    }

    /** Says where tensors that are made from now on begin: {@link #ODD} or {@link #ALIGNED}. */
    static void placeAt(int elements) {
        before = elements;
    }

    /** A tensor that holds {@code values} and nothing else. */
    static GuardedTensor of(Arena arena, float[] values) {
        return new GuardedTensor(arena, DType.F32, values, 0);
    }

    /** A tensor that holds {@code values} first, and after them what no operation may touch. */
    static GuardedTensor larger(Arena arena, float[] values) {
        return larger(arena, DType.F32, values);
    }

    /** The same of F32 or BF16. */
    static GuardedTensor larger(Arena arena, DType dtype, float[] values) {
        return new GuardedTensor(arena, dtype, values, 3);
    }

    /** A larger tensor whose first {@code n} elements an operation should write. */
    static GuardedTensor output(Arena arena, int n) {
        return output(arena, DType.F32, n);
    }

    /** The same of F32 or BF16. */
    static GuardedTensor output(Arena arena, DType dtype, int n) {
        return larger(arena, dtype, poison(n));
    }

    /** A tensor of {@code n} elements, all of which an operation should write. */
    static GuardedTensor exactOutput(Arena arena, int n) {
        return of(arena, poison(n));
    }

    private static float[] poison(int n) {
        float[] values = new float[n];
        Arrays.fill(values, Float.NaN);
        return values;
    }

    Tensor tensor() {
        return tensor;
    }

    /** The elements now, once nothing beside them has changed. */
    float[] read() {
        float[] now = whole.toFloats();
        float[] values = Arrays.copyOfRange(now, start, start + used);
        System.arraycopy(written, start, now, start, used);
        assertThat(bits(now)).as("what lies around the tensor").isEqualTo(bits(written));
        return values;
    }

    /** Fails if anything was written here since the tensor was made. */
    void assertUnchanged() {
        assertThat(bits(whole.toFloats())).as("an input").isEqualTo(bits(written));
    }

    private static int[] bits(float[] values) {
        int[] bits = new int[values.length];
        Arrays.setAll(bits, i -> Float.floatToRawIntBits(values[i]));
        return bits;
    }
}
