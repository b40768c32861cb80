package io.github.drakegpt.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ScorerTest {
    private static final int V = 11;
    private static final int T = 8;

    // a pass of the scorer takes 256 windows of 8: the last three need one, more than one and four of them
    @ParameterizedTest
    @ValueSource(ints = {2, 3, 7, 8, 9, 10, 16, 17, 18, 25, 100, 2048, 2049, 2050, 2057, 6500})
    void theScoreIsThatOfOneForwardPassForEachWindow(int length) {
        ModelConfig config = config(Models.TRANSFORMER);
        int[] tokens = tokens(length);

        Scorer.Score score = score(config, tokens, 2);

        double expected = negativeLogLikelihood(config, tokens) / (length - 1);
        assertThat(score.predicted()).isEqualTo(length - 1);
        assertThat(score.nll()).isCloseTo(expected, within(1e-5));
        assertThat(score.perplexity()).isCloseTo(Math.exp(expected), within(1e-3));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"BigramLM", "SingleHeadAttentionLM", "MultiHeadAttentionLM", "BlocksLM", "ResidualBlocksLM"})
    void everyModelIsScoredSo(String name) {
        int[] tokens = tokens(30);

        double expected = negativeLogLikelihood(config(name), tokens) / 29;
        assertThat(score(config(name), tokens, 1).nll()).isCloseTo(expected, within(1e-5));
    }

    @Test
    void theNumberOfThreadsChangesNothing() {
        ModelConfig config = config(Models.TRANSFORMER);
        int[] tokens = tokens(7000);
        Scorer.Score one = score(config, tokens, 1);

        assertThat(score(config, tokens, 2)).isEqualTo(one);
        assertThat(score(config, tokens, 3)).isEqualTo(one);
    }

    @Test
    void oneScorerScoresManyTexts() {
        ModelConfig config = config(Models.TRANSFORMER);
        try (Backend backend = Backends.create("cpu", 2);
                Scorer scorer = new Scorer(backend, Weights.of(config, weights(config)))) {
            Scorer.Score first = scorer.score(tokens(50));
            scorer.score(tokens(3000));
            assertThat(scorer.score(tokens(50))).isEqualTo(first);
        }
    }

    @Test
    void aTextWithNothingToPredictIsRefused() {
        for (int length : new int[] {0, 1}) {
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> score(config(Models.BIGRAM), tokens(length), 1))
                    .withMessage("A text of " + length + " characters cannot be scored; give at least two.");
        }
    }

    /** In float64 from the logits of one window after the other, each alone in its pass. */
    private static double negativeLogLikelihood(ModelConfig config, int[] tokens) {
        try (Backend backend = Backends.create("cpu", 1);
                Arena arena = backend.newArena()) {
            LanguageModel model = LanguageModel.forEvaluation(config, backend, arena, 1, null);
            model.setWeights(weights(config));
            double sum = 0;
            for (int from = 0; from < tokens.length - 1; from += T) {
                int to = Math.min(from + T, tokens.length - 1);
                model.tokens().write(Arrays.copyOfRange(tokens, from, to));
                model.forward(backend, Pass.evaluation(1, to - from));
                float[] logits = model.logits().toFloats();
                for (int i = from; i < to; i++) {
                    double total = 0;
                    for (int v = 0; v < V; v++) {
                        total += Math.exp(logits[(i - from) * V + v]);
                    }
                    sum += Math.log(total) - logits[(i - from) * V + tokens[i + 1]];
                }
            }
            return sum;
        }
    }

    @Test
    void tokensThatAreInNoVocabularyAreRefused() {
        for (int unknown : new int[] {V, -1}) {
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> score(config(Models.BIGRAM), new int[] {0, unknown, 1}, 1))
                    .withMessage("Token " + unknown
                            + " is not in the model's vocabulary of 11; encode texts with the run's own tokenizer.");
        }
    }

    private static Scorer.Score score(ModelConfig config, int[] tokens, int threads) {
        try (Backend backend = Backends.create("cpu", threads);
                Scorer scorer = new Scorer(backend, Weights.of(config, weights(config)))) {
            return scorer.score(tokens);
        }
    }

    private static ModelConfig config(String name) {
        return new ModelConfig(name, V, T, 16, 16, 2, 2, 0.3f, true, Init.PYTORCH, Quantization.NONE, false);
    }

    private static float[] weights(ModelConfig config) {
        return LanguageModel.parametersOf(config).initialValues(5);
    }

    private static int[] tokens(int length) {
        return new Random(9).ints(length, 0, V).toArray();
    }
}
