package io.github.drakegpt.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import org.junit.jupiter.api.Test;

class TensorTest {
    private final Backend backend = Backends.create("cpu", 1);
    private final Arena arena = backend.newArena();
    private final Tensor tensor = arena.allocate(DType.F32, 2, 3, 4);

    private static void assertRefused(Runnable call, String message) {
        assertThatExceptionOfType(IndexOutOfBoundsException.class)
                .isThrownBy(call::run)
                .withMessage(message);
    }

    @Test
    void rowsAreAView() {
        tensor.rows(1, 2).write(1f, 2f, 3f);
        assertThat(tensor.rows(1, 2).shape()).isEqualTo(Shape.of(1, 3, 4));
        assertThat(tensor.slice(12, Shape.of(4)).toFloats()).containsExactly(1, 2, 3, 0);
        assertThat(tensor.rows(2, 2).size()).isZero();
        assertThat(tensor.rows(0, 1).overlaps(tensor.rows(1, 2))).isFalse();
        assertThat(tensor.rows(0, 2).overlaps(tensor.rows(1, 2))).isTrue();
    }

    @Test
    void thereAreNoOtherRows() {
        assertRefused(() -> tensor.rows(1, 3), "A tensor F32 (2, 3, 4) has no rows from 1 to 3; choose some up to 2.");
        assertRefused(
                () -> tensor.rows(-1, 1), "A tensor F32 (2, 3, 4) has no rows from -1 to 1; choose some up to 2.");
        assertRefused(() -> tensor.rows(2, 1), "A tensor F32 (2, 3, 4) has no rows from 2 to 1; choose some up to 2.");
        assertRefused(
                () -> tensor.slice(0, Shape.of()).rows(0, 1),
                "A tensor F32 () has no rows from 0 to 1; choose some up to 0.");
    }

    @Test
    void aPartLiesWithinItsTensor() {
        for (long start : new long[] {-1, 23, Long.MAX_VALUE, 1L << 32}) {
            assertRefused(
                    () -> tensor.slice(start, Shape.of(2)),
                    "A part (2) from element " + start
                            + " on does not lie within a tensor of 24 elements; choose another part.");
        }
    }

    /** Even one that a program makes by itself. */
    @Test
    void aTensorLiesWithinItsStorage() {
        for (long offset : new long[] {-100, 1, 1L << 32, Long.MAX_VALUE}) {
            assertRefused(
                    () -> new Tensor(DType.F32, Shape.of(2, 12), tensor.storage(), offset),
                    "A tensor F32 (2, 12) from element " + offset
                            + " on does not lie within a storage of 24 elements; choose another part.");
        }
    }

    @Test
    void shapesCanBeCounted() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Shape.of(2, -1))
                .withMessage("A tensor cannot have the shape [2, -1]; every dimension must be zero or more.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Shape.of(1 << 30, 1 << 30, 1 << 30))
                .withMessageContaining("more than can be counted");
    }
}
