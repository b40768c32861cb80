package io.github.drakegpt.profile;

import static org.assertj.core.api.Assertions.assertThat;

import io.github.drakegpt.model.LanguageModel;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.DType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Counts by hand, from the definitions of the models. */
class TrainingCostTest {
    private static final int V = 65;

    /** DrakeGPT's default configuration. */
    private static ModelConfig small(String name) {
        return new ModelConfig(name, V, 8, 32, 32, 4, 3, 0.1f, true, Init.PYTORCH, Quantization.NONE, false);
    }

    private static final ModelConfig SCALED = new ModelConfig(
            Models.TRANSFORMER, V, 256, 384, 64, 6, 6, 0.2f, true, Init.PYTORCH, Quantization.NONE, false);

    @Test
    void operationsOfTheScaledModel() {
        // a layer: queries, keys, values and projection with a bias; two linear layers with biases; two norms
        int c = 384;
        long layer = 4 * c * c + c + 8 * c * c + 4 * c + c + 2 * (2 * c);
        long multiplied = 6 * layer + 2 * c + V * c + V; // the last norm and the head
        assertThat(multiplied).isEqualTo(10_665_665);
        long perToken = 6 * multiplied + 12L * 6 * c * 256;
        assertThat(TrainingCost.flops(SCALED, 64)).isEqualTo((double) perToken * 64 * 256);
        assertThat(TrainingCost.flops(SCALED, 64)).isBetween(1.164e12, 1.165e12);
    }

    @ParameterizedTest
    @CsvSource({
        // model, parameters that are multiplied, layers of attention
        "BigramLM, 0, 0",
        "SingleHeadAttentionLM, 5217, 1", // 3 * 32 * 32; 65 * 32 + 65
        "MultiHeadAttentionLM, 5217, 1",
        "BlocksLM, 14529, 3", // 3 * (3 * 32 * 32 + 32 * 32 + 32); 2145
        "ResidualBlocksLM, 39585, 3", // 3 * (3 * 1024 + 1024 + 32 + 4096 + 128 + 4096 + 32); 2145
        "TransformerLM, 40033, 3" // and 3 * 4 * 32 + 2 * 32
    })
    void operationsOfASmallModel(String name, long multiplied, int layers) {
        long perToken = 6 * multiplied + 12L * layers * 32 * 8;
        assertThat(TrainingCost.flops(small(name), 32)).isEqualTo((double) perToken * 32 * 8);
    }

    @ParameterizedTest
    @CsvSource({
        // model, activations and statistics of a token
        "BigramLM, 0, 0",
        "SingleHeadAttentionLM, 160, 2", // 32; 3 * 32 and 32; a maximum and a denominator
        "MultiHeadAttentionLM, 160, 8", // of each head
        "BlocksLM, 512, 24", // 3 * (32 + 128), 32; 3 * 8
        "ResidualBlocksLM, 992, 24", // 3 * (32 + 128 + 32 + 128), 32
        "TransformerLM, 1216, 38" // 3 * (4 * 32 + 128 + 128), 2 * 32; 3 * (8 + 4) + 2
    })
    void bytesOfASmallModel(String name, int activations, int statistics) {
        ModelConfig model = small(name);
        long parameters = 16 * LanguageModel.parametersOf(model).count();
        long tokens = 32 * 8;
        assertThat(TrainingCost.bytes(model, 32, DType.F32))
                .isEqualTo(parameters + tokens * (4L * activations + 4 * statistics + 4 * V + 8));
        assertThat(TrainingCost.bytes(model, 32, DType.BF16))
                .isEqualTo(parameters + tokens * (2L * activations + 4 * statistics + 4 * V + 8));
    }
}
