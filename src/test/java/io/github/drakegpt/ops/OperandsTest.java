package io.github.drakegpt.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatNoException;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.nn.MeasuringArena;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import io.github.drakegpt.tensor.DType;
import io.github.drakegpt.tensor.Shape;
import io.github.drakegpt.tensor.Tensor;
import org.junit.jupiter.api.Test;

/** What an operation refuses when its record is made. */
class OperandsTest {
    private final Arena arena = new MeasuringArena();

    private Tensor f32(int... dims) {
        return arena.allocate(DType.F32, Shape.of(dims));
    }

    private Tensor bf16(int... dims) {
        return arena.allocate(DType.BF16, Shape.of(dims));
    }

    private Tensor i32(int... dims) {
        return arena.allocate(DType.I32, Shape.of(dims));
    }

    @Test
    void shapesAreComparedWithEachOther() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new SoftmaxOp(f32(3, 4), f32(2, 4), false))
                .withMessage("softmax: y is (2, 4), x is (3, 4); (rows, c) and (rows, c) are wanted.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new LinearOp(f32(3, 4), f32(5, 6), null, false, f32(3, 5)))
                .withMessage("linear: w is (5, 6), x is (3, 4); (out, in) and (rows, in) are wanted.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new LinearOp(f32(3, 4), f32(5, 4), f32(4), false, f32(3, 5)))
                .withMessageStartingWith("linear: bias is (4), w is (5, 4)");
    }

    @Test
    void leadingDimensionsAreRows() {
        assertThatNoException().isThrownBy(() -> new SoftmaxOp(f32(2, 3, 4), f32(6, 4), false));
        assertThatNoException().isThrownBy(() -> new EmbeddingOp(i32(2, 3), f32(9, 4), f32(3, 4), null, f32(2, 3, 4)));
    }

    @Test
    void multiplesAreTakenApart() {
        assertThatNoException().isThrownBy(() -> new AttentionOp(f32(6, 12), f32(6, 4), f32(6, 4), null, 2));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new AttentionOp(f32(6, 13), f32(6, 4), f32(6, 4), null, 2))
                .withMessage("attention: qkv is (6, 13); it has to be (rows, 3a).");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new AttentionOp(f32(6, 12), f32(6, 4), f32(6, 2), null, 2))
                .withMessage("attention: stats is (6, 2); it has to be (rows, 4).");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new AttentionOp(f32(6, 12), f32(6, 4), f32(6, 6), null, 3))
                .withMessageContaining("4 channels are not 3 heads");
    }

    @Test
    void elementTypesAreThoseOfTheOperation() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new SoftmaxOp(f32(3, 4), bf16(3, 4), false))
                .withMessage("softmax: y is BF16, x is F32; give both one type.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new SoftmaxOp(i32(3, 4), i32(3, 4), false))
                .withMessage("softmax: x is I32; it has to be F32 or BF16.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new GradNormOp(bf16(3), f32(1)))
                .withMessage("gradNorm: x is BF16; it has to be F32.");
        Int8Rows rounded = Int8Rows.allocate(arena, Quantization.B158, 3, 4);
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new RmsNormOp(bf16(3, 4), f32(4), f32(3, 4), f32(3), rounded))
                .withMessage("rmsNorm: x is BF16; only F32 is rounded to 8 bits.");
        AdamWOp.State state = new AdamWOp.State(f32(3), f32(3), f32(3), f32(3), f32(3));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new AdamWOp(state, f32(1), i32(1), f32(1), null))
                .withMessage("adamW: matmulWeights is F32; it has to be BF16.");
        assertThatNoException()
                .isThrownBy(() -> new LinearOp(bf16(3, 4), bf16(5, 4), null, false, f32(3, 5))); // logits
    }

    @Test
    void whatIsWrittenSharesNoMemoryUnlessTheOperationSaysSo() {
        Tensor x = f32(3, 4);
        assertThatNoException().isThrownBy(() -> new SoftmaxOp(x, x, false));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new QuantizeRowsOp(x, null, x))
                .withMessage("quantizeRows: q and x share memory; give them tensors of their own.");
        Tensor all = f32(20);
        Tensor first = all.slice(0, Shape.of(3, 4));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new SoftmaxOp(first, all.slice(4, Shape.of(3, 4)), false))
                .withMessageStartingWith("softmax: y and x share memory");
        assertThatNoException()
                .isThrownBy(() -> new SoftmaxOp(all.slice(0, Shape.of(2, 4)), all.slice(8, Shape.of(2, 4)), false));
        assertThatNoException().isThrownBy(() -> new ResidualOp(x, x, null, null, f32(3, 4))); // both only read
    }

    @Test
    void allLieOnOneDevice() {
        try (Backend backend = Backends.create("cpu", 1);
                Arena cpu = backend.newArena()) {
            Tensor x = cpu.allocate(DType.F32, Shape.of(3, 4));
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> new SoftmaxOp(x, f32(3, 4), false))
                    .withMessage("softmax: y lies on no device, x on the CPU; allocate both in arenas of one backend.");
        }
    }

    @Test
    void passesHaveNoMoreRowsThanTheOperands() {
        try (Backend backend = Backends.create("cpu", 1);
                Arena cpu = backend.newArena()) {
            Tensor x = cpu.allocate(DType.F32, Shape.of(3, 4));
            SoftmaxOp softmax = new SoftmaxOp(x, x, false);
            backend.softmax(softmax, Pass.evaluation(1, 3));
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> backend.softmax(softmax, Pass.evaluation(2, 2)))
                    .withMessage("A pass of 4 rows was given to an operation for at most 3; build the model for larger"
                            + " passes.");
        }
    }

    @Test
    void bytesAreThoseOfEachElementOnce() {
        Pass pass = Pass.training(1, 2, 0);
        assertThat(new SoftmaxOp(f32(3, 4), f32(3, 4), false).bytes(pass)).isEqualTo(2 * 2 * 4 * 4);
        // y and dy of two rows, dy once more as it is updated, and the sums
        assertThat(new ReluGradOp(bf16(3, 4), bf16(3, 4), f32(4)).bytes(pass)).isEqualTo(3 * 2 * 4 * 2 + 4 * 4);
    }
}
