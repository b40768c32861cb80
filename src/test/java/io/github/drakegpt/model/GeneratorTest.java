package io.github.drakegpt.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.RepetitionsPerLaunch;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.ops.Pass;
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Arena;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.ValueSource;

class GeneratorTest {
    static final List<String> NAMES = Models.NAMES;

    private static final int V = 13;
    private static final int T = 8;
    private static final Sampling GREEDY = new Sampling(0, 0, 1);

    private Backend backend;

    @BeforeEach
    void start() {
        backend = Backends.create("cpu", 1);
    }

    @AfterEach
    void stop() {
        backend.close();
    }

    @ParameterizedTest
    @FieldSource("NAMES")
    void theCacheChangesNoToken(String name) {
        try (Generator generator = generator(name)) {
            for (Sampling sampling : List.of(GREEDY, Sampling.PLAIN, new Sampling(0.8f, 5, 0.9f))) {
                for (int prompt : new int[] {1, 3, T - 1, T, T + 1, 3 * T}) {
                    assertThat(generate(generator, prompt(prompt), 3 * T, sampling, 42, 0, true))
                            .as("%s after %s characters", sampling, prompt)
                            .hasSize(3 * T)
                            .isEqualTo(generate(generator, prompt(prompt), 3 * T, sampling, 42, 0, false));
                }
            }
        }
    }

    /** Each token by a forward pass of its own over the window before it. */
    @ParameterizedTest
    @FieldSource("NAMES")
    void eachTokenIsTheMostLikelyAfterTheLastContext(String name) {
        try (Generator generator = generator(name);
                Arena arena = backend.newArena()) {
            LanguageModel model = LanguageModel.forEvaluation(config(name), backend, arena, 1, null);
            model.setWeights(model.parameters().initialValues(5));
            for (int prompt : new int[] {1, T, 2 * T + 3}) {
                List<Integer> text =
                        new ArrayList<>(Arrays.stream(prompt(prompt)).boxed().toList());
                for (int i = 0; i < 2 * T; i++) {
                    int[] window = text.subList(Math.max(0, text.size() - T), text.size()).stream()
                            .mapToInt(token -> token)
                            .toArray();
                    model.tokens().write(window);
                    model.forward(backend, Pass.evaluation(1, window.length));
                    float[] logits = model.logits().toFloats();
                    int row = (window.length - 1) * V;
                    text.add(IntStream.range(0, V)
                            .boxed()
                            .max((a, b) -> Float.compare(logits[row + a], logits[row + b]))
                            .orElseThrow());
                }
                assertThat(generate(generator, prompt(prompt), 2 * T, GREEDY, 1, 0, true))
                        .isEqualTo(text.subList(prompt, text.size()));
            }
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void onlyTheLastContextOfThePromptCounts(boolean cached) {
        int[] end = prompt(T);
        int[] longer = IntStream.concat(IntStream.of(7, 0, 12, 3, 3), Arrays.stream(end))
                .toArray();
        try (Generator generator = generator(Models.TRANSFORMER)) {
            List<Integer> text = generate(generator, end, 20, Sampling.PLAIN, 3, 0, cached);
            assertThat(generate(generator, longer, 20, Sampling.PLAIN, 3, 0, cached))
                    .isEqualTo(text);

            // the first character of the window does count: some first token changes with it
            Set<List<Integer>> firsts = new HashSet<>();
            for (int token = 0; token < V; token++) {
                int[] other = end.clone();
                other[0] = token;
                firsts.add(firstTokens(generator, other, cached));
            }
            assertThat(firsts).hasSizeGreaterThan(1);
        }
    }

    @Test
    void theFirstTokenIsDrawnFromTheModelsDistribution() {
        int[] prompt = prompt(2 * T);
        int draws = 20_000;
        double[] expected = new double[V];
        try (Generator generator = generator(Models.TRANSFORMER);
                Arena arena = backend.newArena()) {
            LanguageModel model = LanguageModel.forEvaluation(config(Models.TRANSFORMER), backend, arena, 1, null);
            model.setWeights(model.parameters().initialValues(5));
            model.tokens().write(Arrays.copyOfRange(prompt, T, 2 * T));
            model.forward(backend, Pass.evaluation(1, T));
            float[] logits = model.logits().toFloats();
            double total = 0;
            for (int v = 0; v < V; v++) {
                expected[v] = Math.exp(logits[(T - 1) * V + v]);
                total += expected[v];
            }
            int[] counts = new int[V];
            for (int sample = 0; sample < draws; sample++) {
                counts[
                        generate(generator, prompt, 1, Sampling.PLAIN, 8, sample, true)
                                .get(0)]++;
            }
            double chiSquare = 0;
            for (int v = 0; v < V; v++) {
                double mean = draws * expected[v] / total;
                chiSquare += (counts[v] - mean) * (counts[v] - mean) / mean;
            }
            // 12 degrees of freedom: above 33 once in a thousand seeds
            assertThat(chiSquare).isLessThan(33);
        }
    }

    @Test
    void aSeedAndASampleAreAlwaysTheSameText() {
        List<Integer> text;
        try (Generator generator = generator(Models.TRANSFORMER)) {
            text = generate(generator, prompt(4), 50, Sampling.PLAIN, 42, 0, true);
            generate(generator, prompt(20), 30, Sampling.PLAIN, 1, 2, true);
            assertThat(generate(generator, prompt(4), 50, Sampling.PLAIN, 42, 0, true))
                    .isEqualTo(text);
        }
        try (Generator generator = generator(Models.TRANSFORMER)) {
            assertThat(generate(generator, prompt(4), 50, Sampling.PLAIN, 42, 0, true))
                    .isEqualTo(text);
        }
    }

    @Test
    void otherSamplesAndOtherSeedsAreOtherTexts() {
        try (Generator generator = generator(Models.TRANSFORMER)) {
            Stream<List<Integer>> samples = IntStream.range(0, 6)
                    .mapToObj(sample -> generate(generator, prompt(4), 30, Sampling.PLAIN, 42, sample, true));
            assertThat(samples).doesNotHaveDuplicates();
            Stream<List<Integer>> seeds = IntStream.range(0, 6)
                    .mapToObj(seed -> generate(generator, prompt(4), 30, Sampling.PLAIN, seed, 0, true));
            assertThat(seeds).doesNotHaveDuplicates();
        }
    }

    @Test
    void theGreedyTextNeedsNoSeed() {
        try (Generator generator = generator(Models.TRANSFORMER)) {
            assertThat(generate(generator, prompt(4), 30, GREEDY, 1, 0, true))
                    .isEqualTo(generate(generator, prompt(4), 30, GREEDY, 2, 5, true));
        }
    }

    @Test
    void aShorterTextIsTheBeginningOfALongerOne() {
        try (Generator generator = generator(Models.BLOCKS)) {
            List<Integer> text = generate(generator, prompt(4), 30, Sampling.PLAIN, 1, 0, true);
            assertThat(generate(generator, prompt(4), 11, Sampling.PLAIN, 1, 0, true))
                    .isEqualTo(text.subList(0, 11));
            assertThat(generate(generator, prompt(4), 0, Sampling.PLAIN, 1, 0, true))
                    .isEmpty();
        }
    }

    /** Whatever fits of it: into the rest of the context, into the rest of the text. */
    @ParameterizedTest
    @FieldSource("NAMES")
    void aTextIsTheSameHoweverManyTokensAreDrawnAtOnce(String name) {
        for (int together : new int[] {2, 3, T - 1, T, 50}) {
            try (Generator oneByOne = generator(name);
                    Generator several = generator(name, RepetitionsPerLaunch.atMost(together, backend))) {
                for (Sampling sampling : List.of(GREEDY, Sampling.PLAIN, new Sampling(0.8f, 5, 0.9f))) {
                    for (int prompt : new int[] {1, 2, T - 1, T, 3 * T}) {
                        for (boolean cached : new boolean[] {true, false}) {
                            assertThat(generate(several, prompt(prompt), 9 * T, sampling, 42, prompt, cached))
                                    .as("%d at once, %s after %d characters", together, sampling, prompt)
                                    .hasSize(9 * T)
                                    .isEqualTo(generate(oneByOne, prompt(prompt), 9 * T, sampling, 42, prompt, cached));
                        }
                    }
                }
            }
        }
    }

    @Test
    void severalTokensAreDrawnAtOnceWhereTheyFit() {
        Backend sevens = RepetitionsPerLaunch.atMost(7, backend);
        try (Arena arena = sevens.newArena()) {
            LanguageModel model = LanguageModel.forGeneration(config(Models.TRANSFORMER), sevens, arena, 2, null);
            model.weights().write(model.parameters().initialValues(5));
            try (Decoder decoder = new Decoder(sevens, model, 2, Sampling.PLAIN, 42)) {
                Pass one = Pass.generation(2, 1);
                decoder.place(new int[] {3, 4}, 0, 0, 0);
                assertThat(decoder.draw(one, 6)).hasSize(2);
                assertThat(decoder.draw(one, 7)).hasSize(14);
                assertThat(model.position().toInts()).containsExactly(8);
            }
        }
    }

    /** A sequence of a batch is drawn as if it were alone. */
    @Test
    void theSequencesOfABatchAreTheTextsOfTheirSamples() {
        int batch = 3;
        int[][] prompts = {{1}, {7}, {12}};
        try (Arena arena = backend.newArena();
                Generator generator = generator(Models.TRANSFORMER)) {
            Backend several = RepetitionsPerLaunch.atMost(T - 1, backend);
            LanguageModel model = LanguageModel.forGeneration(config(Models.TRANSFORMER), several, arena, batch, null);
            model.weights().write(model.parameters().initialValues(5));
            try (Decoder decoder = new Decoder(several, model, batch, Sampling.PLAIN, 42)) {
                decoder.place(new int[] {1, 7, 12}, 0, 0, 4);
                int[] drawn = decoder.draw(Pass.generation(batch, 1), T - 1);
                for (int b = 0; b < batch; b++) {
                    int sequence = b;
                    assertThat(generate(generator, prompts[b], T - 1, Sampling.PLAIN, 42, 4 + b, true))
                            .isEqualTo(IntStream.range(0, T - 1)
                                    .mapToObj(i -> drawn[i * batch + sequence])
                                    .toList());
                }
            }
        }
    }

    /** On the CPU nothing is gained by waiting for others: a text appears as it is made. */
    @Test
    void theCpuHandsOverEachTokenBeforeItDrawsTheNext() {
        int[] passes = new int[1];
        Backend counting = (Backend) Proxy.newProxyInstance(
                getClass().getClassLoader(), new Class<?>[] {Backend.class}, (proxy, method, arguments) -> {
                    passes[0] += method.getName().equals("sample") ? 1 : 0;
                    return method.invoke(backend, arguments);
                });
        try (Generator generator = generator(Models.TRANSFORMER, counting)) {
            List<Integer> passesBefore = new ArrayList<>();
            generator.generate(prompt(2), 3 * T, Sampling.PLAIN, 42, 0, true, token -> passesBefore.add(passes[0]));
            assertThat(passesBefore)
                    .isEqualTo(IntStream.rangeClosed(1, 3 * T).boxed().toList());
        }
    }

    @Test
    void refusesAnEmptyPromptAndANegativeLength() {
        try (Generator generator = generator(Models.BIGRAM)) {
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> generate(generator, new int[0], 1, GREEDY, 1, 0, true))
                    .withMessage("There is no prompt to continue; give at least one character.");
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> generate(generator, prompt(1), -1, GREEDY, 1, 0, true))
                    .withMessage("A length of -1 is not possible; give 0 or more.");
        }
    }

    private static List<Integer> firstTokens(Generator generator, int[] prompt, boolean cached) {
        return IntStream.range(0, 50)
                .map(sample -> generate(generator, prompt, 1, Sampling.PLAIN, 4, sample, cached)
                        .get(0))
                .boxed()
                .toList();
    }

    private static List<Integer> generate(
            Generator generator, int[] prompt, int length, Sampling sampling, long seed, int sample, boolean cached) {
        List<Integer> tokens = new ArrayList<>();
        generator.generate(prompt, length, sampling, seed, sample, cached, tokens::add);
        return tokens;
    }

    private Generator generator(String name) {
        return generator(name, backend);
    }

    private static Generator generator(String name, Backend backend) {
        float[] weights = LanguageModel.parametersOf(config(name)).initialValues(5);
        return new Generator(backend, Weights.of(config(name), weights));
    }

    private static ModelConfig config(String name) {
        return new ModelConfig(name, V, T, 16, 16, 2, 2, 0.3f, true, Init.PYTORCH, Quantization.NONE, false);
    }

    private static int[] prompt(int length) {
        return new Random(2).ints(length, 0, V).toArray();
    }
}
