package io.github.drakegpt.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.github.drakegpt.nn.Init;
import io.github.drakegpt.quant.Quantization;
import org.junit.jupiter.api.Test;

class WeightsTest {
    private static final ModelConfig PLAIN = config(Quantization.NONE);
    private static final ModelConfig TERNARY = config(Quantization.B158);
    private static final ModelConfig BINARY = config(Quantization.BITNET);

    @Test
    void fullPrecisionStaysAsItIs() {
        float[] trained = LanguageModel.parametersOf(PLAIN).initialValues(1);
        Weights weights = Weights.of(PLAIN, trained);
        assertThat(weights.flat()).isSameAs(trained);
        assertThat(weights.packed()).isEmpty();
        assertThat(weights.bytes())
                .isEqualTo(4 * LanguageModel.parametersOf(PLAIN).count());
    }

    /** Attention and feed-forward; not embeddings, norms, biases and the head. */
    @Test
    void onlyTheMatricesOfBlocksArePacked() {
        Weights weights =
                Weights.of(TERNARY, LanguageModel.parametersOf(TERNARY).initialValues(1));
        assertThat(weights.packed().keySet())
                .containsExactly(
                        "blocks.0.sa_head.qkv.weight",
                        "blocks.0.sa_head.proj.weight",
                        "blocks.0.ffwd.net.0.weight",
                        "blocks.0.ffwd.net.2.weight");
        long unpacked = LanguageModel.parametersOf(TERNARY).count() - 12L * 16 * 16;
        long packed = (3 + 1 + 4 + 1) * 512; // tiles of 16 rows by 128 columns
        assertThat(weights.bytes()).isEqualTo(4 * unpacked + packed + 4 * (6 + 1 + 1 + 1));
    }

    @Test
    void whatCannotBePackedIsNamed() {
        float[] zeros = new float[(int) LanguageModel.parametersOf(BINARY).size()];
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Weights.of(BINARY, zeros))
                .withMessage("blocks.0.sa_head.qkv.weight cannot be packed: all its weights are 0, which one bit cannot"
                        + " express; train the run again.");
        assertThat(Weights.of(TERNARY, zeros)
                        .packed()
                        .get("blocks.0.sa_head.qkv.weight")
                        .value(3, 3))
                .isZero();
        float[] notANumber = LanguageModel.parametersOf(TERNARY).initialValues(1);
        int at = LanguageModel.parametersOf(TERNARY).entries().stream()
                .filter(entry -> entry.name().equals("blocks.0.ffwd.net.2.weight"))
                .mapToInt(entry -> (int) entry.offset())
                .findFirst()
                .orElseThrow();
        notANumber[at + 5] = Float.NaN;
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Weights.of(TERNARY, notANumber))
                .withMessage("blocks.0.ffwd.net.2.weight cannot be packed: it has weights that are NaN or infinite;"
                        + " train the run again.");
    }

    private static ModelConfig config(Quantization quantization) {
        return new ModelConfig(
                Models.TRANSFORMER,
                7,
                8,
                16,
                16,
                2,
                1,
                0,
                true,
                Init.PYTORCH,
                quantization,
                quantization != Quantization.NONE);
    }
}
