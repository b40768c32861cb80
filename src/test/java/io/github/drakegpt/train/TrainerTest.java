package io.github.drakegpt.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.RepetitionsPerLaunch;
import io.github.drakegpt.checkpoint.Checkpoint;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.checkpoint.Safetensors;
import io.github.drakegpt.checkpoint.StateDict;
import io.github.drakegpt.checkpoint.TrainingState;
import io.github.drakegpt.data.Corpus;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.model.Scorer;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tracking.Metrics;
import io.github.drakegpt.tracking.MetricsFile;
import io.github.drakegpt.tracking.MetricsRecorder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.BooleanSupplier;
import java.util.function.UnaryOperator;
import org.assertj.core.api.InstanceOfAssertFactories;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class TrainerTest {
    private static final BooleanSupplier NEVER = () -> false;
    private static final Corpus CORPUS = Corpus.prepare(text(4000));

    @TempDir
    Path temp;

    private UnaryOperator<Backend> view = UnaryOperator.identity(); // of the backend that is trained on

    // ---------------------------------------------------------------------------------------------- learning

    @ParameterizedTest
    @ValueSource(strings = {"BigramLM", "MultiHeadAttentionLM", "TransformerLM"})
    void theLossFalls(String name) throws IOException {
        List<TrainingListener.Evaluation> evaluations = new ArrayList<>();
        List<Integer> steps = new ArrayList<>();
        TrainConfig config =
                config(c -> c.put("iters", 120).put("eval_interval", 40).put("max_lr", 0.02));
        TrainingListener record = new TrainingListener() {
            @Override
            public void onEvaluation(Evaluation evaluation) {
                evaluations.add(evaluation);
                steps.add(evaluation.step().number());
            }
        };
        TrainingResult result = train(model(name, 0), config, CORPUS, "run", 1, NEVER, record);

        assertThat(result.end()).isEqualTo(TrainingResult.End.COMPLETED);
        assertThat(steps).containsExactly(40, 80, 120);
        assertThat(evaluations.get(2).trainLoss())
                .isLessThan(evaluations.get(1).trainLoss())
                .isLessThan(evaluations.get(0).trainLoss());
        assertThat(evaluations.get(2).valLoss()).isLessThan(evaluations.get(0).valLoss());
    }

    @Test
    void theBestWeightsAreThoseOfTheBestStep() throws IOException {
        // the rate is low up to step 30, and then far too high
        TrainConfig config = config(c -> c.put("iters", 60)
                .put("eval_interval", 10)
                .put("base_lr", 0.002)
                .put("max_lr", 3)
                .put("step_size_up", 3)
                .put("grad_clip", 1));
        ModelConfig model = model(Models.MULTI_HEAD, 0);
        Map<Integer, float[]> weights = new HashMap<>();
        try (Backend backend = Backends.create("cpu", 1)) {
            RunFolder run = create("run", model, CORPUS);
            try (Trainer trainer = new Trainer(backend, model, config, CORPUS, run, List.of())) {
                trainer.train(() -> {
                    remember(run, trainer, weights);
                    return false;
                });
                TrainingState state = run.state();
                assertThat(state.bestStep()).isPositive().isLessThan(60);
                assertThat(state.bestValLoss()).isLessThan(state.valLoss());
                Safetensors best = Safetensors.read(run.path().resolve(RunFolder.BEST));
                assertThat(StateDict.read(best, trainer.parameters(), ""))
                        .containsExactly(weights.get(state.bestStep()))
                        .isNotEqualTo(run.loadTrainedWeights());
            }
        }
    }

    private static void remember(RunFolder run, Trainer trainer, Map<Integer, float[]> weights) {
        if (run.hasCheckpoint()) {
            try {
                weights.putIfAbsent(run.state().step(), run.loadTrainedWeights());
            } catch (IOException e) {
                throw new AssertionError(e);
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- resuming

    @Test
    void aRunThatWasStoppedAndResumedIsTheSameToTheBit() throws IOException {
        ModelConfig model = model(Models.TRANSFORMER, 0.2f);
        TrainConfig config = config(c ->
                c.put("iters", 60).put("eval_interval", 20).put("grad_accum", 2).put("grad_clip", 0.25));
        int[] clipped = new int[1];
        TrainingListener count = new TrainingListener() {
            @Override
            public void onStep(Step step) {
                clipped[0] += step.gradNorm() > 0.25f ? 1 : 0;
            }
        };
        train(model, config, CORPUS, "whole", 1, NEVER, count);
        assertThat(clipped[0]).isPositive();

        int[] stops = {0, 7, 20, 21, 40, 59, 60};
        for (int stop : stops) {
            int[] asked = {state("stopped") == null ? 0 : state("stopped").step()};
            TrainingResult result = train(model, config, CORPUS, "stopped", 1, () -> asked[0]++ >= stop);
            assertThat(result.state().step()).isEqualTo(stop);
            assertThat(result.end())
                    .isEqualTo(stop < 60 ? TrainingResult.End.INTERRUPTED : TrainingResult.End.COMPLETED);
        }

        assertSameRun("stopped", "whole", model);
    }

    @Test
    void aRunThatWasKilledBetweenCheckpointsAndResumedIsTheSameToTheBit() throws IOException {
        ModelConfig model = model(Models.TRANSFORMER, 0.2f);
        TrainConfig config = config(c -> c.put("iters", 60).put("eval_interval", 15));
        train(model, config, CORPUS, "whole", 1, NEVER, metrics("whole", model));
        for (int death : new int[] {5, 29, 30, 44}) {
            TrainingListener deadly = new TrainingListener() {
                @Override
                public void onStep(Step step) {
                    if (step.number() == death) {
                        throw new IllegalStateException("killed");
                    }
                }
            };
            assertThatThrownBy(() -> train(model, config, CORPUS, "killed", 1, NEVER, metrics("killed", model), deadly))
                    .hasMessage("killed");
        }
        train(model, config, CORPUS, "killed", 1, NEVER, metrics("killed", model));

        assertSameRun("killed", "whole", model);
        assertThat(metricsLines("killed").stream().map(TrainerTest::withoutMeasurements))
                .hasSize(60)
                .isEqualTo(metricsLines("whole").stream()
                        .map(TrainerTest::withoutMeasurements)
                        .toList());
    }

    @Test
    void aFinishedRunIsNotTrainedFurther() throws IOException {
        TrainConfig config = config(c -> c.put("iters", 10));
        ModelConfig model = model(Models.BIGRAM, 0);
        train(model, config, CORPUS, "run", 1, NEVER);
        Checkpoint before = load("run", model);

        assertThat(train(model, config, CORPUS, "run", 1, NEVER).end()).isEqualTo(TrainingResult.End.COMPLETED);
        assertSameCheckpoint(load("run", model), before);
    }

    // ---------------------------------------------------------------------------------------------- how it is computed

    @Test
    void anyNumberOfThreadsComputesTheSameWeights() throws IOException {
        ModelConfig model = model(Models.TRANSFORMER, 0.1f);
        TrainConfig config =
                config(c -> c.put("iters", 12).put("eval_interval", 6).put("batch_size", 70));
        try (Backend backend = Backends.create("cpu", 2)) {
            assertThat(backend.shards(70, model.contextLength())).isGreaterThan(3);
        }
        for (int threads = 1; threads <= 3; threads++) {
            train(model, config, CORPUS, "threads" + threads, threads, NEVER);
        }

        assertSameRun("threads2", "threads1", model);
        assertSameRun("threads3", "threads1", model);
    }

    @Test
    void aBatchInPartsIsTheSameAsAWholeOneUpToRounding() throws IOException {
        ModelConfig model = model(Models.TRANSFORMER, 0.2f);
        // with a larger eps, rounding errors of gradients near zero stay small
        train(model, config(c -> c.put("batch_size", 8).put("eps", 1e-3)), CORPUS, "whole", 1, NEVER);
        train(
                model,
                config(c -> c.put("batch_size", 4).put("eps", 1e-3).put("grad_accum", 2)),
                CORPUS,
                "parts",
                1,
                NEVER);
        train(model, config(c -> c.put("batch_size", 4).put("eps", 1e-3)), CORPUS, "half", 1, NEVER);

        float[] whole = load("whole", model).weights();
        assertThat(distance(load("parts", model).weights(), whole)).isLessThan(1e-5);
        assertThat(distance(load("half", model).weights(), whole)).isGreaterThan(1e-3);
    }

    // ---------------------------------------------------------------------------------------------- the last loss

    /** With dropout, and in passes that do not divide the split: what is measured at the end is what a scorer measures. */
    @ParameterizedTest
    @EnumSource
    void theLastValLossIsOfTheWholeSplit(Quantization quantization) throws IOException {
        ModelConfig model = model(Models.TRANSFORMER, 0.2f).withQuant(quantization);
        TrainConfig config = config(c -> c.put("batch_size", 7).put("grad_accum", 2));
        List<Double> told = new ArrayList<>();
        TrainingListener record = new TrainingListener() {
            @Override
            public void onEvaluation(Evaluation evaluation) {
                told.add(evaluation.finalValLoss());
            }
        };
        TrainingState state = train(model, config, CORPUS, "run", 2, NEVER, record, metrics("run", model))
                .state();

        double whole;
        try (Backend backend = Backends.create("cpu", 1);
                Scorer scorer =
                        new Scorer(backend, RunFolder.open(temp.resolve("run")).loadWeights())) {
            whole = scorer.score(CORPUS.validationTokens()).nll();
        }
        assertThat(state.finalValLoss()).isCloseTo(whole, within(1e-6));
        assertThat(state.valLoss()).as("of random batches").isNotCloseTo(whole, within(1e-6));
        assertThat(state("run")).isEqualTo(state);
        assertThat(told).containsExactly(null, state.finalValLoss());
        assertThat(MetricsFile.read(temp.resolve("run").resolve(RunFolder.METRICS)))
                .filteredOn(Metrics::isEvaluation)
                .extracting(Metrics::finalValLoss)
                .isEqualTo(told);
    }

    @Test
    void onlyATrainingThatHasEndedHasALastValLoss() throws IOException {
        ModelConfig model = model(Models.BIGRAM, 0);
        TrainConfig config = config(c -> c.put("iters", 30));
        int[] left = {20};
        assertThat(train(model, config, CORPUS, "run", 1, () -> left[0]-- == 0).state())
                .satisfies(state -> assertThat(state.step()).isEqualTo(20))
                .returns(false, TrainingState::isFinished)
                .satisfies(state -> assertThat(state.shownValLoss()).isEqualTo(state.valLoss()));
        TrainingState ended = train(model, config, CORPUS, "run", 1, NEVER).state();
        assertThat(ended.shownValLoss()).isEqualTo(ended.finalValLoss());

        TrainConfig longer = config(c -> c.put("iters", 40));
        int[] more = {5};
        assertThat(train(model, longer, CORPUS, "run", 1, () -> more[0]-- == 0).state())
                .returns(35, TrainingState::step)
                .returns(false, TrainingState::isFinished);
        train(model, longer, CORPUS, "run", 1, NEVER);
        train(model, longer, CORPUS, "whole", 1, NEVER);
        assertSameRun("run", "whole", model);
    }

    /** A run that an older version trained to its end. */
    @Test
    void aLastValLossThatIsMissingIsMeasured() throws IOException {
        ModelConfig model = model(Models.BIGRAM, 0);
        TrainingState ended =
                train(model, config(c -> c), CORPUS, "run", 1, NEVER).state();
        Path file = temp.resolve("run").resolve(RunFolder.STATE);
        ObjectNode old = (ObjectNode) new ObjectMapper().readTree(file.toFile());
        old.remove(List.of("final_val_loss", "sha256"));
        Files.writeString(file, old.toString());
        assertThat(state("run").isFinished()).isFalse();

        assertThat(train(model, config(c -> c), CORPUS, "run", 1, NEVER).state())
                .isEqualTo(ended);
        assertThat(state("run")).isEqualTo(ended);
    }

    // ---------------------------------------------------------------------------------------------- together

    /** With steps left over before the evaluations, at 100, where the loss is looked at, and at the end. */
    @ParameterizedTest
    @CsvSource({"2,59", "7,26", "15,12", "1000,12"})
    void stepsThatAreTakenTogetherAreToldOneByOne(int together, int times) throws IOException {
        ModelConfig model = model(Models.TRANSFORMER, 0.2f);
        TrainConfig config = config(c -> c.put("iters", 110).put("eval_interval", 15));
        List<String> expected = new ArrayList<>();
        train(model, config, CORPUS, "single", 1, NEVER, record(expected), metrics("single", model));
        view = backend -> RepetitionsPerLaunch.atMost(together, backend);
        List<String> told = new ArrayList<>();
        int[] asked = new int[1];
        BooleanSupplier count = () -> {
            asked[0]++;
            return false;
        };
        train(model, config, CORPUS, "together", 1, count, record(told), metrics("together", model));

        assertThat(told).isEqualTo(expected).hasSize(110 + 8);
        assertThat(asked[0]).as("times that steps were started").isEqualTo(times);
        assertSameRun("together", "single", model);
        assertThat(metricsLines("together").stream().map(TrainerTest::withoutMeasurements))
                .isEqualTo(metricsLines("single").stream()
                        .map(TrainerTest::withoutMeasurements)
                        .toList());
    }

    private static String withoutMeasurements(String line) {
        return line.replaceAll(",\"(tokens_per_s|elapsed_s|peak_memory_bytes)\":[0-9.]+", "");
    }

    private static TrainingListener record(List<String> told) {
        return new TrainingListener() {
            @Override
            public void onStep(Step step) {
                told.add(step.number() + " " + step.loss() + " " + step.gradNorm() + " " + step.learningRate());
            }

            @Override
            public void onEvaluation(Evaluation evaluation) {
                told.add(evaluation.step().number() + " " + evaluation.valLoss() + " "
                        + evaluation.sample().get().orElseThrow());
            }
        };
    }

    @Test
    void aStopComesBetweenStepsThatAreTakenTogetherAndSavesTheStepItSays() throws IOException {
        ModelConfig model = model(Models.TRANSFORMER, 0.2f);
        TrainConfig config = config(c -> c.put("iters", 60).put("eval_interval", 20));
        train(model, config, CORPUS, "whole", 1, NEVER);
        view = backend -> RepetitionsPerLaunch.atMost(8, backend);
        int[] asked = new int[1];
        TrainingResult result = train(model, config, CORPUS, "stopped", 1, () -> asked[0]++ == 2);
        assertThat(result.end()).isEqualTo(TrainingResult.End.INTERRUPTED);
        assertThat(result.state().step()).isEqualTo(16);
        assertThat(state("stopped").step()).isEqualTo(16);
        asked[0] = 0;
        view = backend -> RepetitionsPerLaunch.atMost(3, backend); // four steps are left before the evaluation
        train(model, config, CORPUS, "stopped", 1, () -> asked[0]++ == 1);
        assertThat(state("stopped").step()).isEqualTo(19);
        view = backend -> RepetitionsPerLaunch.atMost(10, backend);
        train(model, config, CORPUS, "stopped", 1, NEVER);
        assertSameRun("stopped", "whole", model);
    }

    @Test
    void aLossThatIsNoNumberIsSeenWhereItIsWithoutTakingStepsTogether() throws IOException {
        ModelConfig model = model(Models.TRANSFORMER, 0);
        view = backend -> RepetitionsPerLaunch.atMost(10, backend);
        assertThatThrownBy(() -> train(model, diverging(), CORPUS, "run", 1, NEVER))
                .isInstanceOf(DivergedException.class)
                .hasMessageStartingWith("The loss is not a number at step 20, so training has stopped (");
        assertGoodCheckpointOfStep10(model);
    }

    // ---------------------------------------------------------------------------------------------- ends

    @ParameterizedTest
    @CsvSource({"1, 10", "3, 20"})
    void trainingEndsAfterEnoughEvaluationsWithoutANewBest(int patience, int lastStep) throws IOException {
        // a rate of 0 and a val split with a single window: the loss stays as it is
        String text = text(80);
        ModelConfig model = new ModelConfig(
                Models.BIGRAM, vocabulary(text), 7, 8, 8, 2, 1, 0, true, Init.PYTORCH, Quantization.NONE, false);
        Corpus corpus = Corpus.prepare(text);
        assertThat(corpus.val()).hasSize(8);
        TrainConfig config = config(c -> c.put("iters", 1000)
                .put("eval_interval", 5)
                .put("base_lr", 0)
                .put("max_lr", 0)
                .put("patience", patience));

        TrainingResult result = train(model, config, corpus, "run", 1, NEVER);

        assertThat(result.end()).isEqualTo(TrainingResult.End.OUT_OF_PATIENCE);
        assertThat(result.state().step()).isEqualTo(lastStep);
        assertThat(result.state().bestStep()).isEqualTo(5);
        assertThat(state("run")).isEqualTo(result.state());
        assertThat(result.state().finalValLoss())
                .as("the split is one window, and its estimate that of the same")
                .isCloseTo(result.state().valLoss(), within(1e-6));
    }

    @Test
    void aLossThatIsNoNumberEndsTrainingAndLeavesTheCheckpointBefore() throws IOException {
        ModelConfig model = model(Models.TRANSFORMER, 0);
        Path folder = temp.resolve("run");

        assertThatThrownBy(() -> train(model, diverging(), CORPUS, "run", 1, NEVER, metrics("run", model)))
                .isInstanceOf(DivergedException.class)
                .hasMessage("The loss is not a number at step 20, so training has stopped (" + folder
                        + " holds step 10); lower train.max_lr from 1.0E30, or set train.grad_clip to 1.");
        assertGoodCheckpointOfStep10(model);
        assertThat(metricsLines("run"))
                .filteredOn(line -> line.contains("val_loss"))
                .singleElement(InstanceOfAssertFactories.STRING)
                .startsWith("{\"step\":10,");
        assertThat(metricsLines("run").get(18)).startsWith("{\"step\":19,\"loss\":null,");
    }

    @Test
    void aRunThatDivergedAndIsThenInterruptedKeepsTheCheckpointBefore() throws IOException {
        ModelConfig model = model(Models.TRANSFORMER, 0);
        int[] asked = new int[1];

        assertThatThrownBy(() -> train(model, diverging(), CORPUS, "run", 1, () -> asked[0]++ >= 15))
                .isInstanceOf(DivergedException.class);
        assertGoodCheckpointOfStep10(model);
    }

    @Test
    void withoutACheckpointTheMessageSaysSo() {
        TrainConfig config =
                config(c -> c.put("iters", 10).put("eval_interval", 10).put("base_lr", 1e30));

        assertThatThrownBy(() -> train(model(Models.TRANSFORMER, 0), config, CORPUS, "run", 1, NEVER))
                .isInstanceOf(DivergedException.class)
                .hasMessageContaining("(there is no checkpoint yet)");
        assertThat(temp.resolve("run/state.json")).doesNotExist();
    }

    /** A low rate up to step 10, then an absurd one. */
    private static TrainConfig diverging() {
        return config(c -> c.put("iters", 100)
                .put("eval_interval", 10)
                .put("step_size_up", 1)
                .put("max_lr", 1e30));
    }

    private void assertGoodCheckpointOfStep10(ModelConfig model) throws IOException {
        Checkpoint checkpoint = load("run", model);
        assertThat(checkpoint.state().step()).isEqualTo(10);
        assertThat(checkpoint.state().valLoss()).isFinite();
        float largest = 0;
        for (float weight : checkpoint.weights()) {
            largest = Math.max(largest, Math.abs(weight));
        }
        assertThat(largest).isPositive().isLessThan(10);
    }

    @Test
    void aFullDiskLeavesTheLastCheckpointWhole() throws IOException {
        ModelConfig model = model(Models.MULTI_HEAD, 0);
        TrainConfig config = config(c -> c.put("iters", 30).put("eval_interval", 10));
        int[] left = {10};
        train(model, config, CORPUS, "good", 1, () -> left[0]-- == 0);
        TrainingListener full = new TrainingListener() {
            @Override
            public void onEvaluation(Evaluation evaluation) throws IOException {
                if (evaluation.step().number() == 20) {
                    throw new IOException("No space left on device");
                }
            }
        };

        assertThatThrownBy(() -> train(model, config, CORPUS, "run", 1, NEVER, full))
                .isInstanceOf(IOException.class)
                .hasMessage("No space left on device");
        assertSameRun("run", "good", model);
    }

    @Test
    void aSplitThatIsTooShortForTheContextIsNamed() {
        String text = text(80); // 72 and 8 characters
        Corpus corpus = Corpus.prepare(text);

        assertThatIllegalArgumentException()
                .isThrownBy(() -> train(bigram(text, 72), config(c -> c), corpus, "a", 1, NEVER))
                .withMessage("The training split has 72 characters, too few for a context of 72; use a longer text or "
                        + "a smaller model.context_length.");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> train(bigram(text, 8), config(c -> c), corpus, "b", 1, NEVER))
                .withMessage("The validation split has 8 characters, too few for a context of 8; use a longer text or "
                        + "a smaller model.context_length.");
    }

    // ---------------------------------------------------------------------------------------------- helpers

    private static ModelConfig bigram(String text, int context) {
        return new ModelConfig(
                Models.BIGRAM, vocabulary(text), context, 8, 8, 2, 1, 0, true, Init.PYTORCH, Quantization.NONE, false);
    }

    private static ModelConfig model(String name, float dropout) {
        return new ModelConfig(
                name,
                CORPUS.tokenizer().size(),
                8,
                16,
                16,
                2,
                2,
                dropout,
                true,
                Init.PYTORCH,
                Quantization.NONE,
                false);
    }

    private static TrainConfig config(UnaryOperator<ObjectNode> change) {
        ObjectMapper json = new ObjectMapper();
        TrainConfig plain = new TrainConfig(
                8, 20, 10, 4, Schedule.CYCLIC, 0.003, 0.01, 2, 0, 0, List.of(0.9f, 0.95f), 1e-8f, 0.01f, 0, 1, 0, 42);
        return json.convertValue(change.apply(json.valueToTree(plain)), TrainConfig.class);
    }

    /** Text with some order in it: words of a few letters. */
    private static String text(int length) {
        String[] words = {"love ", "you ", "know ", "money ", "city\n", "never ", "go ", "down "};
        Random random = new Random(3);
        StringBuilder text = new StringBuilder();
        while (text.length() < length) {
            text.append(words[random.nextInt(words.length)]);
        }
        return text.substring(0, length);
    }

    private static int vocabulary(String text) {
        return (int) text.chars().distinct().count();
    }

    private RunFolder create(String folder, ModelConfig model, Corpus corpus) throws IOException {
        ObjectMapper json = new ObjectMapper();
        ObjectNode config = json.createObjectNode();
        config.set("model", json.valueToTree(model));
        return RunFolder.create(temp.resolve(folder), config, corpus.tokenizer());
    }

    /** Begins the run of a folder or goes on with it, as a new process would. */
    private TrainingResult train(
            ModelConfig model,
            TrainConfig config,
            Corpus corpus,
            String folder,
            int threads,
            BooleanSupplier stop,
            TrainingListener... listeners)
            throws IOException {
        RunFolder run = run(folder, model, corpus);
        try (Backend backend = Backends.create("cpu", threads);
                Trainer trainer = new Trainer(view.apply(backend), model, config, corpus, run, List.of(listeners))) {
            run.recover();
            if (run.hasCheckpoint()) {
                trainer.restore(run.load(trainer.parameters()));
            }
            return trainer.train(stop);
        }
    }

    private RunFolder run(String folder, ModelConfig model, Corpus corpus) throws IOException {
        Path path = temp.resolve(folder);
        return Files.exists(path) ? RunFolder.open(path) : create(folder, model, corpus);
    }

    private TrainingListener metrics(String folder, ModelConfig model) throws IOException {
        return new MetricsRecorder(List.of(new MetricsFile(run(folder, model, CORPUS))));
    }

    private List<String> metricsLines(String folder) throws IOException {
        return Files.readAllLines(temp.resolve(folder).resolve(RunFolder.METRICS));
    }

    private TrainingState state(String folder) throws IOException {
        Path path = temp.resolve(folder);
        return Files.exists(path) ? RunFolder.open(path).state() : null;
    }

    private Checkpoint load(String folder, ModelConfig model) throws IOException {
        try (Backend backend = Backends.create("cpu", 1);
                Trainer trainer = new Trainer(backend, model, config(c -> c), CORPUS, null, List.of())) {
            return RunFolder.open(temp.resolve(folder)).load(trainer.parameters());
        }
    }

    private void assertSameRun(String actual, String expected, ModelConfig model) throws IOException {
        assertSameCheckpoint(load(actual, model), load(expected, model));
        assertThat(Files.readAllBytes(temp.resolve(actual).resolve(RunFolder.BEST)))
                .isEqualTo(Files.readAllBytes(temp.resolve(expected).resolve(RunFolder.BEST)));
    }

    private static void assertSameCheckpoint(Checkpoint actual, Checkpoint expected) {
        assertThat(actual.weights()).containsExactly(expected.weights());
        assertThat(actual.firstMoments()).containsExactly(expected.firstMoments());
        assertThat(actual.secondMoments()).containsExactly(expected.secondMoments());
        assertThat(withoutMeasurements(actual.state())).isEqualTo(withoutMeasurements(expected.state()));
    }

    private static TrainingState withoutMeasurements(TrainingState state) {
        TrainingState same = state.advanced(state.step(), 0, 0);
        return state.isFinished() ? same.finished(state.finalValLoss()) : same;
    }

    private static double distance(float[] a, float[] b) {
        double largest = 0;
        for (int i = 0; i < a.length; i++) {
            largest = Math.max(largest, Math.abs(a[i] - b[i]));
        }
        return largest;
    }
}
