package io.github.drakegpt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIOException;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.within;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.model.Generator;
import io.github.drakegpt.ops.Sampling;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(value = 2, unit = TimeUnit.MINUTES)
class TextModelTest {
    private static final Path RUN = Path.of("data/pretrained/TransformerLM");
    private static final String PROMPT = "Tonight ";

    private Device device;
    private TextModel model;

    @BeforeEach
    void load() throws IOException {
        device = Device.builder().name("cpu").threads(2).open();
        model = TextModel.load(device, RUN);
    }

    @AfterEach
    void close() {
        model.close();
        device.close();
    }

    private static GenerationOptions seed(long seed) {
        return GenerationOptions.builder().length(40).seed(seed).build();
    }

    @Test
    void textsAreThoseOfAGeneratorWithTheSameSeed() throws IOException {
        RunFolder run = RunFolder.open(RUN);
        StringBuilder expected = new StringBuilder();
        try (Backend backend = Backends.create("cpu", 1);
                Generator generator = new Generator(backend, run.loadWeights())) {
            generator.generate(
                    run.tokenizer().encode(PROMPT),
                    40,
                    new Sampling(0.8f, 20, 0.9f),
                    7,
                    0,
                    true,
                    token -> expected.append(run.tokenizer().decode(token)));
        }
        GenerationOptions options = GenerationOptions.builder()
                .length(40)
                .temperature(0.8f)
                .topK(20)
                .topP(0.9f)
                .seed(7)
                .build();
        assertThat(model.generate(PROMPT, options)).isEqualTo(expected.toString());
    }

    @Test
    void withoutASeedEachTextIsAnother() {
        assertThat(model.generate("")).hasSize(500).isNotEqualTo(model.generate(""));
        assertThat(model.generate("", seed(3))).isEqualTo(model.generate("", seed(3)));
    }

    @Test
    void aSinkStopsTheText() {
        String whole = model.generate(PROMPT, seed(1));
        StringBuilder part = new StringBuilder();
        model.generate(PROMPT, seed(1), character -> {
            part.append(character);
            return part.length() < 11;
        });
        assertThat(part.toString()).isEqualTo(whole.substring(0, 11));
        assertThat(model.generate(PROMPT, seed(1))).isEqualTo(whole);
    }

    @Test
    void aSinkMayUseTheModel() {
        String within = model.generate(PROMPT, seed(2));
        model.generate(PROMPT, seed(1), character -> {
            assertThat(model.generate(PROMPT, seed(2))).isEqualTo(within);
            assertThatIllegalStateException()
                    .isThrownBy(model::close)
                    .withMessage("A sink cannot close its model; return false, and close it after the call.");
            return false;
        });
    }

    @Test
    void manyThreadsGetTheTextsAndScoresThatOneGets() throws Exception {
        List<String> texts = new ArrayList<>();
        List<TextModel.Score> scores = new ArrayList<>();
        for (int seed = 0; seed < 24; seed++) {
            texts.add(model.generate(PROMPT, seed(seed)));
            scores.add(model.score(texts.get(seed)));
        }
        ExecutorService threads = Executors.newFixedThreadPool(8);
        try {
            List<Future<?>> calls = new ArrayList<>();
            for (int i = 0; i < 10 * texts.size(); i++) {
                int seed = i % texts.size();
                calls.add(threads.submit(() -> {
                    assertThat(model.generate(PROMPT, seed(seed))).isEqualTo(texts.get(seed));
                    assertThat(model.score(texts.get(seed))).isEqualTo(scores.get(seed));
                }));
            }
            for (Future<?> call : calls) {
                call.get();
            }
        } finally {
            threads.shutdownNow();
        }
    }

    @Test
    void closingWaitsForTheTextUnderWay() throws Exception {
        AtomicReference<Thread> closing = new AtomicReference<>();
        StringBuilder text = new StringBuilder();
        model.generate(PROMPT, seed(1), character -> {
            if (closing.get() == null) {
                closing.set(new Thread(model::close));
                closing.get().start();
            }
            text.append(character);
            return true;
        });
        closing.get().join();
        assertThat(text).hasSize(40);
        assertThatIllegalStateException()
                .isThrownBy(() -> model.generate(PROMPT))
                .withMessage("The model is closed; load it again.");
        assertThatIllegalStateException().isThrownBy(() -> model.score(PROMPT));
    }

    @Test
    void itScores() {
        TextModel.Score score = model.score("Tonight we dance again\n");
        assertThat(score.predicted()).isEqualTo(22);
        assertThat(score.nll()).isBetween(0.5, 3.5);
        assertThat(score.perplexity()).isCloseTo(Math.exp(score.nll()), within(1e-9));
    }

    @Test
    void theBestWeightsAreLoadedToo(@TempDir Path empty) throws IOException {
        try (TextModel best = TextModel.loadBest(device, RUN)) {
            assertThat(best.vocabulary()).isEqualTo(model.vocabulary()).contains("T");
            assertThat(best.contextLength()).isEqualTo(8);
            assertThat(best.generate(PROMPT, seed(1))).hasSize(40);
        }
        assertThatIOException()
                .isThrownBy(() -> TextModel.load(device, Files.createDirectory(empty.resolve("run"))))
                .withMessageContaining("is not the folder of a run");
    }

    @Test
    void wrongArgumentsAreRefused() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> model.generate("\u0416"))
                .withMessageStartingWith("Not in the vocabulary: '\u0416'");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> model.score("a"))
                .withMessage("A text of 1 characters cannot be scored; give at least two.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> GenerationOptions.builder().length(-1).build())
                .withMessage("A length of -1 is not possible; give 0 or more.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> GenerationOptions.builder().topP(0).build());
    }
}
