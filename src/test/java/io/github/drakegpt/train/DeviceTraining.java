package io.github.drakegpt.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.BackendOptions;
import io.github.drakegpt.backend.Backends;
import io.github.drakegpt.backend.RepetitionsPerLaunch;
import io.github.drakegpt.checkpoint.Checkpoint;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.data.Corpus;
import io.github.drakegpt.model.Generator;
import io.github.drakegpt.model.ModelConfig;
import io.github.drakegpt.model.Models;
import io.github.drakegpt.model.Scorer;
import io.github.drakegpt.model.Weights;
import io.github.drakegpt.nn.Init;
import io.github.drakegpt.ops.Sampling;
import io.github.drakegpt.quant.Quantization;
import io.github.drakegpt.tensor.Precision;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.BooleanSupplier;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.FieldSource;

/** Whole training on a device against the same on the CPU: each device's test extends this class. */
abstract class DeviceTraining {
    static final List<String> NAMES = Models.NAMES;

    private static final int REPEATED = 20;
    private static final BackendOptions FP32 = BackendOptions.ofThreads(1);
    private static final Corpus CORPUS = Corpus.prepare(text(20_000));
    private static final BooleanSupplier NEVER = () -> false;

    @TempDir
    Path temp;

    private final String device;
    private final int batch;
    private final int steps;

    /**
     * @param batch sequences of a step
     * @param steps for which losses are compared
     */
    DeviceTraining(String device, int batch, int steps) {
        this.device = device;
        this.batch = batch;
        this.steps = steps;
    }

    /** Same seed, same batches, same dropout masks: the losses differ by rounding only, and not from run to run. */
    @ParameterizedTest
    @FieldSource("NAMES")
    void theLossesAreThoseOfTheCpu(String name) {
        ModelConfig model = model(name, 0.1f);
        float[] expected = losses("cpu", FP32, model, steps);
        float[] losses = losses(device, FP32, model, steps);
        for (int step = 0; step < steps; step++) {
            // what is rounded otherwise grows from step to step: the CPU's own losses leave each other by 3e-4 within
            // 200 steps if a
            // quarter of the weights is moved to the next number after each
            float tolerance = step < 100 ? 1e-4f : 1e-3f;
            assertThat(losses[step]).as("loss of step %d", step + 1).isCloseTo(expected[step], within(tolerance));
        }
        assertThat(mean(losses, steps - steps / 4, steps)).isLessThan(mean(losses, 0, steps / 4));
        assertThat(losses(device, FP32, model, REPEATED)).containsExactly(Arrays.copyOf(losses, REPEATED));
    }

    /** Operation by operation as in one kernel: the same up to the order of sums. */
    @Test
    void withoutFusionTheLossesAreTheSame() {
        ModelConfig model = model(Models.TRANSFORMER, 0.1f);
        float[] fused = losses(device, FP32, model, REPEATED);
        float[] apart = losses(device, new BackendOptions(1, Precision.FP32, false), model, REPEATED);
        for (int step = 0; step < REPEATED; step++) {
            assertThat(apart[step]).as("loss of step %d", step + 1).isCloseTo(fused[step], within(1e-5f));
        }
    }

    /** Rounded activations move the loss a little, and not from run to run. */
    @ParameterizedTest
    @FieldSource("NAMES")
    void bfloat16FollowsFloat32(String name) {
        BackendOptions bf16 = new BackendOptions(1, Precision.BF16, true);
        ModelConfig model = model(name, 0.1f);
        float[] expected = losses("cpu", FP32, model, steps);
        float[] losses = losses(device, bf16, model, steps);
        for (int step = 0; step < steps; step++) {
            assertThat(losses[step]).as("loss of step %d", step + 1).isCloseTo(expected[step], within(0.02f));
        }
        assertThat(losses).isNotEqualTo(expected);
        assertThat(losses(device, bf16, model, REPEATED)).containsExactly(Arrays.copyOf(losses, REPEATED));
    }

    @Test
    void tf32FollowsFloat32() {
        ModelConfig model = model(Models.TRANSFORMER, 0.1f);
        float[] expected = losses("cpu", FP32, model, REPEATED);
        float[] losses = losses(device, new BackendOptions(1, Precision.TF32, true), model, REPEATED);
        for (int step = 0; step < REPEATED; step++) {
            assertThat(losses[step]).as("loss of step %d", step + 1).isCloseTo(expected[step], within(5e-3f));
        }
    }

    private static double mean(float[] losses, int from, int to) {
        double sum = 0;
        for (int i = from; i < to; i++) {
            sum += losses[i];
        }
        return sum / (to - from);
    }

    private float[] losses(String device, BackendOptions options, ModelConfig model, int count) {
        float[] losses = new float[count];
        try (Backend backend = Backends.create(device, options);
                TrainingStep step = TrainingStep.create(backend, model, config(steps, steps), CORPUS.train())) {
            for (int i = 0; i < count; i++) {
                step.run(i + 1);
                losses[i] = step.loss();
            }
        }
        return losses;
    }

    /** As many as the device wants, which are replayed from the third time on, and again others. */
    @Test
    void aStepIsTheSameHoweverManyAreTakenTogether() {
        ModelConfig model = model(Models.TRANSFORMER, 0.1f);
        TrainConfig config = config(steps, 8);
        List<String> expected = new ArrayList<>();
        try (Backend backend = Backends.create(device, 1);
                TrainingStep step = TrainingStep.create(backend, model, config, CORPUS.train())) {
            assertThat(step.stepsPerLaunch()).isEqualTo(8);
            while (expected.size() < 24) {
                step.run(expected.size() + 1);
                expected.add(step.loss() + " " + step.gradNorm());
            }
        }
        for (int most : new int[] {5, 8}) {
            List<String> steps = new ArrayList<>();
            try (Backend backend = Backends.create(device, 1);
                    TrainingStep step = TrainingStep.create(
                            RepetitionsPerLaunch.atMost(most, backend), model, config, CORPUS.train())) {
                while (steps.size() < 24) {
                    for (TrainingListener.Step done : step.run(steps.size() + 1, steps.size() / 8 * 8 + 8)) {
                        steps.add(done.loss() + " " + done.gradNorm());
                        assertThat(done.number()).isEqualTo(steps.size());
                    }
                }
            }
            assertThat(steps).as("%d together", most).isEqualTo(expected);
        }
    }

    /** Stopped in the middle, in other places than evaluations, and resumed: the same to the bit. */
    @ParameterizedTest
    @EnumSource(names = {"FP32", "BF16"})
    void aRunThatWasStoppedAndResumedIsTheSameToTheBit(Precision precision) throws IOException {
        BackendOptions options = new BackendOptions(1, precision, true);
        ModelConfig model = model(Models.TRANSFORMER, 0.2f);
        Checkpoint whole = train(options, model, "whole", UnaryOperator.identity(), NEVER);
        UnaryOperator<Backend> oneByOne = backend -> RepetitionsPerLaunch.atMost(1, backend);
        int step = 0;
        for (int steps : new int[] {3, 17, 11}) {
            int[] left = {steps};
            step += steps;
            Checkpoint checkpoint = train(options, model, "stopped", oneByOne, () -> left[0]-- == 0);
            assertThat(checkpoint.state().step()).isEqualTo(step);
        }
        Checkpoint stopped = train(options, model, "stopped", UnaryOperator.identity(), NEVER);
        assertThat(stopped.weights()).containsExactly(whole.weights());
        assertThat(stopped.firstMoments()).containsExactly(whole.firstMoments());
        assertThat(stopped.secondMoments()).containsExactly(whole.secondMoments());
        assertThat(stopped.state().valLoss()).isEqualTo(whole.state().valLoss());
        assertThat(stopped.state().trainLoss()).isEqualTo(whole.state().trainLoss());
        assertThat(stopped.state().finalValLoss()).isEqualTo(whole.state().finalValLoss());
        try (Backend backend = Backends.create("cpu", 1);
                Scorer scorer = new Scorer(backend, Weights.of(model, whole.weights()))) {
            assertThat(whole.state().finalValLoss())
                    .isCloseTo(
                            scorer.score(CORPUS.validationTokens()).nll(),
                            within(precision == Precision.FP32 ? 1e-5 : 1e-2));
        }
    }

    /** Begins the run of a folder or goes on with it, as a new process would. */
    Checkpoint train(ModelConfig model, String folder, BooleanSupplier stop) throws IOException {
        return train(FP32, model, folder, UnaryOperator.identity(), stop);
    }

    private Checkpoint train(
            BackendOptions options, ModelConfig model, String folder, UnaryOperator<Backend> view, BooleanSupplier stop)
            throws IOException {
        Path path = temp.resolve(folder);
        RunFolder run = Files.exists(path) ? RunFolder.open(path) : create(path, model);
        try (Backend backend = Backends.create(device, options);
                Trainer trainer = new Trainer(view.apply(backend), model, config(60, 20), CORPUS, run, List.of())) {
            if (run.hasCheckpoint()) {
                trainer.restore(run.load(trainer.parameters()));
            }
            trainer.train(stop);
            return run.load(trainer.parameters());
        }
    }

    private static RunFolder create(Path path, ModelConfig model) throws IOException {
        ObjectMapper json = new ObjectMapper();
        ObjectNode config = json.createObjectNode();
        config.set("model", json.valueToTree(model));
        return RunFolder.create(path, config, CORPUS.tokenizer());
    }

    /** With and without the cache, beyond the context, for several shapes of prompts, and again from what was recorded. */
    @ParameterizedTest
    @FieldSource("NAMES")
    void theTextAndItsScoreAreThoseOfTheCpu(String name) {
        ModelConfig model = model(name, 0);
        float[] weights = trained(model);
        int[] text = CORPUS.tokenizer().encode(text(500));
        List<Integer> expected = new ArrayList<>();
        double nll;
        try (Backend backend = Backends.create("cpu", 1)) {
            generate(backend, model, weights, expected);
            try (Scorer scorer = new Scorer(backend, Weights.of(model, weights))) {
                nll = scorer.score(text).nll();
            }
        }
        List<Integer> drawn = new ArrayList<>();
        try (Backend backend = Backends.create(device, 1)) {
            generate(backend, model, weights, drawn);
            try (Scorer scorer = new Scorer(backend, Weights.of(model, weights))) {
                assertThat(scorer.score(text).nll()).isCloseTo(nll, within(1e-5));
                assertThat(scorer.score(text).nll()).isCloseTo(nll, within(1e-5));
            }
        }
        assertThat(drawn).isEqualTo(expected);
    }

    /** Beyond the context, and so long that what is done together is replayed; then of another sample and another seed. */
    @Test
    void aLongTextIsThatOfTheCpu() {
        ModelConfig model = model(Models.TRANSFORMER, 0);
        Weights weights = Weights.of(model, trained(model));
        List<List<Integer>> texts = new ArrayList<>();
        for (String name : List.of("cpu", device)) {
            List<Integer> text = new ArrayList<>();
            texts.add(text);
            try (Backend backend = Backends.create(name, 1);
                    Generator generator = new Generator(backend, weights)) {
                generator.generate(new int[] {0}, 190, Sampling.PLAIN, 7, 1, true, text::add);
                generator.generate(new int[] {0}, 20, Sampling.PLAIN, 7, 2, true, text::add);
                generator.generate(new int[] {0}, 20, Sampling.PLAIN, 8, 2, true, text::add);
            }
        }
        assertThat(texts.get(1)).hasSize(230).isEqualTo(texts.get(0));
    }

    /** Weights that predict something: equal probabilities would leave it to rounding what is drawn. */
    private float[] trained(ModelConfig model) {
        try (Backend backend = Backends.create("cpu", 1);
                TrainingStep step = TrainingStep.create(backend, model, config(100, 100), CORPUS.train())) {
            for (int i = 1; i <= 100; i++) {
                step.run(i);
            }
            return step.weights().toFloats();
        }
    }

    private static void generate(Backend backend, ModelConfig model, float[] weights, List<Integer> tokens) {
        try (Generator generator = new Generator(backend, Weights.of(model, weights))) {
            for (Sampling sampling : List.of(new Sampling(0, 0, 1), Sampling.PLAIN, new Sampling(0.8f, 5, 0.9f))) {
                for (int prompt : new int[] {1, 5, 11}) {
                    for (boolean cached : new boolean[] {true, false}) {
                        generator.generate(
                                CORPUS.tokenizer().encode(text(prompt)), 20, sampling, 7, prompt, cached, tokens::add);
                    }
                }
            }
        }
    }

    static ModelConfig model(String name, float dropout) {
        return new ModelConfig(
                name,
                CORPUS.tokenizer().size(),
                8,
                32,
                32,
                4,
                3,
                dropout,
                true,
                Init.PYTORCH,
                Quantization.NONE,
                false);
    }

    private TrainConfig config(int iters, int evalInterval) {
        return new TrainConfig(
                batch,
                iters,
                evalInterval,
                4,
                Schedule.CYCLIC,
                0.001,
                0.005,
                5,
                0,
                0,
                List.of(0.9f, 0.95f),
                1e-8f,
                0.01f,
                1,
                1,
                0,
                42);
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
}
